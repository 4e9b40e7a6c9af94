"""Distribution functions as bijectors: forward is a cdf, inverse draws samples from uniforms."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector
from flowlab.supports import open_interval

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
HALF_SQRT_TWO = math.sqrt(0.5)


class NormalCDF(Bijector):
    r"""y = Phi(x), the distribution function of N(0, 1), elementwise; its inverse turns uniforms into normals.

    forward  y = Phi(x)       log det  -x^2 / 2 - log(2 pi) / 2
    inverse  x = Phi^-1(y)    log det  x^2 / 2 + log(2 pi) / 2

    Phi is taken from the complementary error function, which keeps its digits in the left tail: invertible down to -13
    in float32 and -37 in float64. On the right y nears 1, where digits are lost: invertible up to 5 and 8.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import NormalCDF
        >>> NormalCDF().forward_log_det_jacobian(torch.tensor(2.01))  # the log density of N(0, 1) at 2.01
        tensor(-2.9390)
    """

    codomain, sign = open_interval(0.0, 1.0), +1

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return 0.5 * torch.special.erfc(-x * HALF_SQRT_TWO), -0.5 * x.square() - HALF_LOG_TWO_PI

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = torch.special.ndtri(y)
        return x, 0.5 * x.square() + HALF_LOG_TWO_PI


class ExponentialCDF(Bijector):
    r"""y = 1 - exp(-rate x) for x >= 0, the distribution function of Exponential(rate), elementwise.

    forward  y = 1 - exp(-rate x)       log det  log(rate) - rate x
    inverse  x = -log(1 - y) / rate     log det  rate x - log(rate)

    Arguments:
        rate: a positive number or tensor that broadcasts against x; an `nn.Parameter` is learned.

    Raises:
        ValueError: the rate is not positive and finite.

    Largest invertible rate x: 16.6 in float32, 36.7 in float64 (beyond, y rounds to 1).

    Example:
        >>> import torch
        >>> from flowlab.bijectors import ExponentialCDF
        >>> ExponentialCDF(rate=0.5).inverse(torch.tensor(0.5))  # the median of Exponential(0.5)
        tensor(1.3863)
    """

    domain, codomain, sign = constraints.nonnegative, constraints.half_open_interval(0.0, 1.0), +1
    rate: Tensor

    def __init__(self, rate: float | Tensor | nn.Parameter = 1.0) -> None:
        super().__init__()
        self._hold("rate", rate)
        if not self.rate.is_meta and not bool((self.rate.isfinite() & (self.rate > 0)).all()):
            raise ValueError(f"ExponentialCDF: rate={rate!r} must be positive and finite")

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = self.rate * x
        return -(-z).expm1(), self.rate.log() - z

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = -(-y).log1p()
        return z / self.rate, z - self.rate.log()
