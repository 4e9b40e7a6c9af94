"""Targets made of one Gaussian, or of conditional Gaussians: banana, gaussian, funnel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.targets.base import LOG_TWO_PI, ExactTarget

if TYPE_CHECKING:
    from torch import Tensor


def _normal_log_prob(z: Tensor, log_scale: Tensor | float) -> Tensor:
    return -0.5 * (z.square() + LOG_TWO_PI) - log_scale


@register("target", "banana")
@dataclass
class Banana(ExactTarget):
    r"""x2 ~ N(0, scale), x1 | x2 ~ N(curvature x2^2, noise), all by standard deviation: Jang's training target.

    Entropy, closed form: log(2 pi e scale noise) nats, since the shear keeps volume; 4.2241714 with Jang's settings.

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

    curvature: float = setting(0.25)
    scale: float = setting(4.0, above=0)
    noise: float = setting(1.0, above=0)

    def __post_init__(self) -> None:
        # With Jang's settings this is his frame, [-5, 30] x [-10, 10].
        reach = 2.5 * self.scale
        tip, margin = 1.2 * self.curvature * reach**2, 5.0 * self.noise
        low, high = min(tip, 0.0) - margin, max(tip, 0.0) + (0.0 if tip > margin else margin)
        self.bounds = ((low, high), (-reach, reach))
        self.entropy = math.log(2 * math.pi * math.e * self.scale * self.noise)

    def from_draws(self, drawn: Tensor) -> Tensor:
        import torch

        x2 = self.scale * drawn[..., 1]
        return torch.stack([self.curvature * x2.square() + self.noise * drawn[..., 0], x2], dim=-1)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x1, x2 = x.unbind(-1)
        return _normal_log_prob(x2 / self.scale, math.log(self.scale)) + _normal_log_prob(
            (x1 - self.curvature * x2.square()) / self.noise, math.log(self.noise)
        )


@register("target", "gaussian")
@dataclass
class Gaussian(ExactTarget):
    r"""x = mean + z A for a row z of standard normals: mean `mean`, covariance A^T A.

    Entropy, closed form: d log(2 pi e) / 2 + log |det A| nats.

    Arguments:
        mean: d numbers.
        factor: A, d x d numbers, not singular. Keydana's target has mean (1, 1) and A = 2 I (a standard deviation of 2,
            where the text says variance). Jang's second data set has mean (0.4, 1) and A = [[2, 0.3], [-1, 4]].
        train_size: see ExactTarget.

    Raises:
        ValueError: the factor is singular or its shape does not fit the mean.

    Reference:
        | Getting into the flow: Bijectors in TensorFlow Probability (Sigrid Keydana, 2019)
        | https://blogs.rstudio.com/ai/posts/2019-04-05-bijectors-flows/
    """

    mean: list[float] = setting([1.0, 1.0])
    factor: list[list[float]] = setting([[2.0, 0.0], [0.0, 2.0]])

    def __post_init__(self) -> None:
        dim = len(self.mean)
        if dim < 1 or any(len(row) != dim for row in self.factor) or len(self.factor) != dim:
            raise ValueError(f"factor={self.factor}: must be d x d for a mean of d numbers; mean has {dim}")
        self.event_shape = (dim,)
        factor = np.asarray(self.factor, dtype=float)
        self.log_volume = float(np.linalg.slogdet(factor)[1])
        if not math.isfinite(self.log_volume):
            raise ValueError(f"factor={self.factor}: is singular; use rows that are linearly independent")
        deviation = np.sqrt((factor**2).sum(0))
        self.bounds = tuple(
            (float(centre - 3.5 * spread), float(centre + 3.5 * spread))
            for centre, spread in zip(self.mean, deviation, strict=True)
        )
        self.entropy = 0.5 * dim * (LOG_TWO_PI + 1) + self.log_volume

    @cached_property
    def _constants(self) -> tuple[Tensor, Tensor, Tensor]:
        """The mean, the factor and its inverse."""
        import torch

        mean, factor = (torch.tensor(numbers, dtype=torch.float64) for numbers in (self.mean, self.factor))
        return mean, factor, torch.linalg.inv(factor)

    def from_draws(self, drawn: Tensor) -> Tensor:
        mean, factor, _ = self._constants
        return mean.to(drawn) + drawn @ factor.to(drawn)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        mean, _, inverse = self._constants
        return _normal_log_prob((x - mean.to(x)) @ inverse.to(x), 0.0).sum(-1) - self.log_volume


@register("target", "funnel")
@dataclass
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

    dim: int = setting(2, minimum=2, maximum=1_000_000)
    scale: float = setting(3.0, above=0)

    def __post_init__(self) -> None:
        self.event_shape = (self.dim,)
        self.bounds = ((-3.0 * self.scale, 3.0 * self.scale), *[(-15.0, 15.0)] * (self.dim - 1))
        self.entropy = 0.5 * self.dim * (LOG_TWO_PI + 1) + math.log(self.scale)

    def from_draws(self, drawn: Tensor) -> Tensor:
        import torch

        neck = self.scale * drawn[..., :1]
        return torch.cat([neck, (neck / 2).exp() * drawn[..., 1:]], dim=-1)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        neck, rest = x[..., :1], x[..., 1:]
        first = _normal_log_prob(neck / self.scale, math.log(self.scale))
        others = _normal_log_prob((-neck / 2).exp() * rest, neck / 2)
        return (first + others.sum(-1, keepdim=True)).squeeze(-1)
