"""Targets made of one Gaussian, or of Gaussians given one another: banana, gaussian, funnel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowlab.targets.base import Bounds, ExactTarget

LOG_TWO_PI = math.log(2 * math.pi)


def _normal_log_prob(z: Tensor, log_scale: Tensor | float) -> Tensor:
    return -0.5 * (z.square() + LOG_TWO_PI) - log_scale


class Banana(ExactTarget):
    r"""x2 ~ N(0, scale), x1 | x2 ~ N(curvature x2^2, noise), all by standard deviation: Jang's training target.

    Entropy, closed form: log(2 pi e scale noise) nats, since the shear keeps volume; 4.2241714 as in the document.

    Arguments:
        curvature: how much x1 follows the square of x2.
        scale, noise: the two standard deviations, positive.
        train_size: see ExactTarget.

    Reference:
        | Normalizing Flows Tutorial, Part 1: Distributions and Determinants (Eric Jang, 2018)
        | https://blog.evjang.com/2018/01/nf1.html

    Example:
        >>> from flowlab.targets import Banana
        >>> round(Banana().entropy, 7)
        4.2241714
    """

    def __init__(
        self, curvature: float = 0.25, scale: float = 4.0, noise: float = 1.0, train_size: int | None = None
    ) -> None:
        super().__init__(train_size)
        self.curvature, self.scale, self.noise = curvature, scale, noise
        # For the document's numbers this is its own frame, [-5, 30] x [-10, 10].
        reach = 2.5 * scale
        tip = 1.2 * curvature * reach**2
        low, high = min(tip, 0.0) - 5.0 * noise, max(tip, 0.0) + (0.0 if tip > 5.0 * noise else 5.0 * noise)
        self.bounds: Bounds = ((low, high), (-reach, reach))
        self.entropy = math.log(2 * math.pi * math.e * scale * noise)

    def from_draws(self, drawn: Tensor) -> Tensor:
        x2 = self.scale * drawn[..., 1]
        return torch.stack([self.curvature * x2.square() + self.noise * drawn[..., 0], x2], dim=-1)

    def log_prob(self, x: Tensor) -> Tensor:
        x1, x2 = x.unbind(-1)
        return _normal_log_prob(x2 / self.scale, math.log(self.scale)) + _normal_log_prob(
            (x1 - self.curvature * x2.square()) / self.noise, math.log(self.noise)
        )


class Gaussian(ExactTarget):
    r"""x = mean + z A for a row z of standard normals: mean `mean`, covariance A^T A.

    Entropy, closed form: d log(2 pi e) / 2 + log |det A| nats.

    Arguments:
        mean: d numbers.
        factor: A, d x d numbers, not singular. Keydana's target has mean (1, 1) and A = 2 I (a standard deviation of 2,
            where the text says variance); Jang's second data set has mean (0.4, 1) and A = [[2, 0.3], [-1, 4]].
        train_size: see ExactTarget.

    Raises:
        ValueError: the factor is singular or its shape does not fit the mean.

    Reference:
        | Getting into the flow: Bijectors in TensorFlow Probability (Sigrid Keydana, 2019)
        | https://blogs.rstudio.com/ai/posts/2019-04-05-bijectors-flows/
    """

    def __init__(
        self,
        mean: Sequence[float] = (1.0, 1.0),
        factor: Sequence[Sequence[float]] = ((2.0, 0.0), (0.0, 2.0)),
        train_size: int | None = None,
    ) -> None:
        super().__init__(train_size)
        self.dim = len(mean)
        if self.dim < 1 or any(len(row) != self.dim for row in factor) or len(factor) != self.dim:
            raise ValueError(f"Gaussian: factor must be d x d for a mean of d numbers; the mean has {self.dim}")
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.factor = torch.tensor(factor, dtype=torch.float64)
        self.log_volume = float(torch.linalg.slogdet(self.factor)[1])
        if not math.isfinite(self.log_volume):
            raise ValueError(f"Gaussian: factor={[list(row) for row in factor]} is singular")
        self.inverse_factor = torch.linalg.inv(self.factor)
        deviation = self.factor.square().sum(0).sqrt()
        self.bounds = tuple(
            (float(centre - 3.5 * spread), float(centre + 3.5 * spread))
            for centre, spread in zip(self.mean, deviation, strict=True)
        )
        self.entropy = 0.5 * self.dim * (LOG_TWO_PI + 1) + self.log_volume

    def from_draws(self, drawn: Tensor) -> Tensor:
        return self.mean.to(drawn) + drawn @ self.factor.to(drawn)

    def log_prob(self, x: Tensor) -> Tensor:
        z = (x - self.mean.to(x)) @ self.inverse_factor.to(x)
        return _normal_log_prob(z, 0.0).sum(-1) - self.log_volume


class Funnel(ExactTarget):
    r"""x1 ~ N(0, scale), every other x | x1 ~ N(0, exp(x1 / 2)), all by standard deviation: Neal's funnel.

    Entropy, closed form: d log(2 pi e) / 2 + log(scale) nats, since E x1 / 2 = 0.

    Arguments:
        dim: d, at least 2.
        scale: standard deviation of x1, positive.
        train_size: see ExactTarget.

    Reference:
        | Slice sampling (Radford M. Neal, 2003)
        | https://doi.org/10.1214/aos/1056562461
    """

    def __init__(self, dim: int = 2, scale: float = 3.0, train_size: int | None = None) -> None:
        super().__init__(train_size)
        self.dim, self.scale = dim, scale
        self.bounds = ((-3.0 * scale, 3.0 * scale), *[(-15.0, 15.0)] * (dim - 1))
        self.entropy = 0.5 * dim * (LOG_TWO_PI + 1) + math.log(scale)

    def from_draws(self, drawn: Tensor) -> Tensor:
        neck = self.scale * drawn[..., :1]
        return torch.cat([neck, (neck / 2).exp() * drawn[..., 1:]], dim=-1)

    def log_prob(self, x: Tensor) -> Tensor:
        neck, rest = x[..., :1], x[..., 1:]
        first = _normal_log_prob(neck / self.scale, math.log(self.scale))
        others = _normal_log_prob((-neck / 2).exp() * rest, neck / 2)
        return (first + others.sum(-1, keepdim=True)).squeeze(-1)
