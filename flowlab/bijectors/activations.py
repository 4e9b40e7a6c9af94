"""Leaky rectifiers with a learned slope: the PReLU, and a smooth one with a closed-form inverse."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from flowlab.bijectors.base import Bijector

MINIMUM_SLOPE = 0.01


def _inverse_softplus(value: float) -> float:
    return value + math.log(-math.expm1(-value))


# name -> (the raw parameter to slope - MINIMUM_SLOPE, the inverse of that)
POSITIVE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[float], float]]] = {
    "abs": (torch.abs, lambda value: value),
    "softplus": (softplus, _inverse_softplus),
}


class _LeakyRectifier(Bijector):
    """The base of both rectifiers: one slope for all coordinates or one for each, learned and positive."""

    sign = +1

    def __init__(self, slope: float = 0.25, size: int | None = None, positive: str = "softplus") -> None:
        super().__init__()
        name = type(self).__name__
        if positive not in POSITIVE:
            raise ValueError(f"{name}: positive={positive!r} is unknown; allowed: {', '.join(POSITIVE)}")
        if not MINIMUM_SLOPE < slope < math.inf:
            raise ValueError(f"{name}: slope={slope!r} must be finite and greater than {MINIMUM_SLOPE}")
        if size is not None and size < 1:
            raise ValueError(f"{name}: size={size!r} must be at least 1, or None for one slope shared by all")
        self.positive = positive
        self._initial = POSITIVE[positive][1](slope - MINIMUM_SLOPE)
        self.raw_slope = nn.Parameter(torch.full(() if size is None else (size,), self._initial))
        self.parameter_shape = self.raw_slope.shape

    @property
    def slope(self) -> Tensor:
        """The slope on the negative side, greater than 0.01: of shape () or (size,)."""
        return POSITIVE[self.positive][0](self.raw_slope) + MINIMUM_SLOPE

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            self.raw_slope.fill_(self._initial)

    def extra_repr(self) -> str:
        shape = tuple(self.raw_slope.shape)
        return f"{'one slope' if shape == () else f'{shape[0]} slopes'}, positive={self.positive!r}"


class PReLU(_LeakyRectifier):
    r"""y = x where x >= 0, slope x elsewhere; the slope is learned.

    forward  y = x or slope x    log det  0 or log(slope)
    inverse  x = y or y / slope  log det  0 or -log(slope)

    Arguments:
        slope: the initial slope, greater than 0.01.
        size: None for one slope shared by all coordinates, or the number of coordinates for one each.
        positive: the slope is softplus(raw) + 0.01 for "softplus", |raw| + 0.01 for "abs", as in Jang's tutorial.

    Raises:
        ValueError: a slope or size out of range, or an unknown `positive`.

    The log det jumps by log(slope) at 0, so automatic differentiation misses the mass that crosses the kink when
    parameters change: see SmoothPReLU.

    Reference:
        | Normalizing Flows Tutorial, Part 1: Distributions and Determinants (Eric Jang, 2018)
        | https://blog.evjang.com/2018/01/nf1.html
    """

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        largest = torch.finfo(dtype).max
        return -largest / max(1.0, float(self.slope.detach().max())), largest

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        slope, right = self.slope, x >= 0
        return torch.where(right, x, slope * x), torch.where(right, 0.0, slope.log())

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        slope, right = self.slope, y >= 0
        return torch.where(right, y, y / slope), torch.where(right, 0.0, -slope.log())


class SmoothPReLU(_LeakyRectifier):
    r"""y = a x + b sqrt(x^2 + eps^2), a = (1 + slope) / 2, b = (1 - slope) / 2: a PReLU whose kink is rounded.

    forward  y = a x + b r, r = sqrt(x^2 + eps^2)                log det  log(R / r)
    inverse  x = (a y - b R) / slope, R = sqrt(y^2 + slope eps^2)    log det  log(r / R)

    (x, r) -> (y, R) multiplies by [[a, b], [b, a]], of determinant a^2 - b^2 = slope. So R = b x + a r, and the
    derivative a + b x / r is R / r, a quotient of positive numbers without cancellation.
    eps -> 0 gives the PReLU. The log density of a flow is smooth in the parameters, so the gradient of the average log
    likelihood is unbiased.

    Arguments:
        slope, size, positive: as in PReLU.
        smoothness: eps, the half width of the rounded kink, greater than 0, in units of x. A number is a constant; an
            `nn.Parameter` is learned.

    Raises:
        ValueError: a slope, size or smoothness out of range, or an unknown `positive`.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import SmoothPReLU
        >>> b = SmoothPReLU(slope=0.5)
        >>> b.inverse(b(torch.tensor([-3.0, 0.0, 3.0]))).detach().round(decimals=4)
        tensor([-3.,  0.,  3.])
    """

    smoothness: Tensor

    def __init__(
        self,
        slope: float = 0.25,
        size: int | None = None,
        positive: str = "softplus",
        smoothness: float | Tensor | nn.Parameter = 1.0,
    ) -> None:
        super().__init__(slope, size, positive)
        self._register("smoothness", smoothness)
        if not self.smoothness.is_meta and not bool((self.smoothness.isfinite() & (self.smoothness > 0)).all()):
            raise ValueError(f"SmoothPReLU: smoothness={smoothness!r} must be positive and finite; for 0 use PReLU")
        self.parameter_shape = torch.broadcast_shapes(self.raw_slope.shape, self.smoothness.shape)

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        slope, largest = float(self.slope.detach().max()), torch.finfo(dtype).max
        steepest = max(1.0, slope)  # the terms of y overflow on the left, their sum on the right
        return -largest / ((1 + slope) * steepest), largest / (2 * steepest)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._image(x, self.slope)[0]

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return self._preimage(y, self.slope)[0]

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        slope = self.slope
        y, root = self._image(x, slope)
        return y, (torch.hypot(y, slope.sqrt() * self.smoothness) / root).log()

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, root = self._preimage(y, self.slope)
        return x, (torch.hypot(x, self.smoothness) / root).log()

    def _image(self, x: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """y and r."""
        root = torch.hypot(x, self.smoothness)
        return 0.5 * ((1 + slope) * x + (1 - slope) * root), root

    def _preimage(self, y: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """x and R."""
        root = torch.hypot(y, slope.sqrt() * self.smoothness)
        return ((1 + slope) * y - (1 - slope) * root) / (2 * slope), root
