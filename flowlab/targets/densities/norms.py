"""Breiman's twonorm and ringnorm in d dimensions: mixtures of two Gaussians, at a distance or inside each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.targets.base import LOG_TWO_PI, ExactTarget
from flowlab.targets.draws import rand, randn

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LENGTH = 2.0  # |a|
REACH = 12.0  # standard deviations, beyond which the quadrature sees no mass


@dataclass
class _TwoGaussians(ExactTarget):
    """Half of the points from each of two isotropic Gaussians, whose means are multiples of a = (2, ..., 2) / sqrt(d).

    Attributes:
        parts: for each Gaussian the multiple of a, and the standard deviation.
    """

    dim: int = setting(20, minimum=2, maximum=100_000)

    parts = ((1.0, 1.0), (-1.0, 1.0))

    def __post_init__(self) -> None:
        self.event_shape = (self.dim,)
        reach = max(abs(share) * LENGTH / math.sqrt(self.dim) + 3.5 * scale for share, scale in self.parts)
        self.bounds = ((-reach, reach),) * self.dim

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        import torch

        return torch.cat([rand((count, 1), generator, dtype), randn((count, self.dim), generator, dtype)], dim=-1)

    def from_draws(self, drawn: Tensor) -> Tensor:
        import torch

        (first, second), choice, normal = self.parts, drawn[..., :1] < 0.5, drawn[..., 1:]
        each = LENGTH / math.sqrt(self.dim)
        return torch.where(choice, first[0] * each + first[1] * normal, second[0] * each + second[1] * normal)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        # Along a and across it: the difference to each mean, squared, cancels nothing.
        each = LENGTH / math.sqrt(self.dim)
        squares = [((x - share * each) / scale).square().sum(-1) for share, scale in self.parts]
        return self._log_mixture(squares, self.dim)

    def _log_mixture(self, squares: list[Tensor], dim: int) -> Tensor:
        """Log density from the squared distances to both means, in standard deviations."""
        import torch

        logs = [
            -square / 2 - dim * (LOG_TWO_PI / 2 + math.log(scale))
            for square, (_, scale) in zip(squares, self.parts, strict=True)
        ]
        return torch.logaddexp(*logs) - math.log(2)


@register("target", "twonorm")
@dataclass
class TwoNorm(_TwoGaussians):
    r"""Half N(a, I) and half N(-a, I) with a = (2, ..., 2) / sqrt(d), so the means are 4 apart in any dimension.

    Across a the points are standard normal, with an entropy of (d - 1) log(2 pi e) / 2 nats. The entropy along a comes
    from quadrature in one dimension. The sum is 29.0114909 nats for d = 20.

    Arguments:
        dim: d, at least 2.
        train_size: see ExactTarget.

    Reference:
        | Bias, Variance, and Arcing Classifiers (Leo Breiman, 1996)
        | https://www.stat.berkeley.edu/~breiman/arcall96.pdf

    Example:
        >>> from flowlab.targets import TwoNorm
        >>> round(TwoNorm(dim=20).entropy, 7)
        29.0114909
    """

    @cached_property
    def entropy(self) -> float:  # type: ignore[override]
        from flowlab.targets.densities._quadrature import entropy, trapezoid

        def along(t: Tensor) -> Tensor:
            return self._log_mixture([(t - LENGTH).square(), (t + LENGTH).square()], 1)

        line = entropy(along, *trapezoid(-LENGTH - REACH, LENGTH + REACH, 2000))
        return line + (self.dim - 1) * (LOG_TWO_PI + 1) / 2


@register("target", "ringnorm")
@dataclass
class RingNorm(_TwoGaussians):
    r"""Half N(0, 4 I) and half N(a, I) with a = (2, ..., 2) / sqrt(d): a narrow Gaussian inside a wide one.

    The density depends on the projection on a and on the distance from that axis alone. So the entropy comes from
    quadrature in two dimensions: 35.9681558 nats for d = 20.

    Arguments:
        dim: d, at least 2.
        train_size: see ExactTarget.

    Reference:
        | Bias, Variance, and Arcing Classifiers (Leo Breiman, 1996)
        | https://www.stat.berkeley.edu/~breiman/arcall96.pdf

    Example:
        >>> from flowlab.targets import RingNorm
        >>> round(RingNorm(dim=20).entropy, 7)
        35.9681558
    """

    parts = ((0.0, 2.0), (1.0, 1.0))

    @cached_property
    def entropy(self) -> float:  # type: ignore[override]
        from flowlab.targets.densities._quadrature import gauss_legendre, product, trapezoid

        across = self.dim - 1
        points, weights = product(
            trapezoid(-2 * REACH, 2 * REACH, 800), gauss_legendre(0.0, 2 * (math.sqrt(across) + REACH), 800)
        )
        along, radius = points.unbind(-1)
        log_prob = self._log_mixture(
            [(along.square() + radius.square()) / 4, (along - LENGTH).square() + radius.square()], self.dim
        )
        # The sphere of this radius in `across` dimensions; logs, since its surface overflows in many.
        surface = math.log(2) + across / 2 * math.log(math.pi) - math.lgamma(across / 2) + (across - 1) * radius.log()
        return float(-(weights * (log_prob + surface).exp() * log_prob).sum())
