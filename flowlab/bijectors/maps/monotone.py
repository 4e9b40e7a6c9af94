"""A smooth monotone map: an integral of sigmoids with positive weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowlab.bijectors.maps.base import Map
from flowlab.bijectors.maps.spline import bounded_exp

HALVINGS = 30  # halvings of a bracket around the root, before Newton's steps
NEWTON_STEPS = 3  # they reach the rounding, and carry gradients


class Monotone(Map):
    r"""y = the integral of m(x) from 0, plus a shift; m passes smoothly from each of `bins + 1` slopes to the next.

    With centres c_1 < ... < c_K, slopes m_0, ..., m_K and the width r = bound / (K + 1) of a step:

    forward  y = shift + m_0 x + sum_k (m_k - m_(k-1)) (softplus((x - c_k) / r) - softplus(-c_k / r)) r
    log det  log m(x), m(x) = m_0 + sum_k (m_k - m_(k-1)) sigma((x - c_k) / r)
    inverse  numerical

    The slope m(x) is an average of the slopes, since sigma((x - c_k) / r) decreases in k. So it lies between the
    smallest and the largest one, within exp(-limit) and exp(limit). All derivatives are continuous. The centres are
    spread evenly over [-bound, bound]; parameters move them, but not past each other. Far outside y is a straight line.

    The inverse halves a bracket that the slopes give, and ends by Newton's steps, which carry exact first and second
    derivatives. It takes 36 evaluations of the map or its slope.

    Arguments:
        bins: K, the number of centres, at least 1.
        bound: half the width of the interval of the centres, in units of x.
        limit: the bound of the log slopes, in nats.

    Raises:
        ValueError: no bins, or a bound or a limit that is not positive and finite.

    Reference:
        | Neural Autoregressive Flows (Chin-Wei Huang, David Krueger, Alexandre Lacoste, Aaron Courville, 2018)
        | https://arxiv.org/abs/1804.00779

    Example:
        >>> import torch
        >>> from flowlab.bijectors.maps import Monotone
        >>> monotone = Monotone(bins=4, bound=2.0)
        >>> parameters = torch.linspace(-1, 1, monotone.size).expand(3, monotone.size)
        >>> y, log_det = monotone.forward_and_log_det(torch.tensor([-3.0, 0.5, 1.0]), parameters)
        >>> monotone.inverse_and_log_det(y, parameters)[0].round(decimals=4)
        tensor([-3.0000,  0.5000,  1.0000])
    """

    def __init__(self, bins: int = 8, bound: float = 3.0, limit: float = 2.0) -> None:
        if bins < 1:
            raise ValueError(f"Monotone: bins={bins!r} must be at least 1")
        for name, value in (("bound", bound), ("limit", limit)):
            if not 0 < value < math.inf:
                raise ValueError(f"Monotone: {name}={value!r} must be positive and finite")
        self.bins, self.bound, self.limit = bins, bound, limit
        self.width = bound / (bins + 1)  # width of a step: half the distance between neighbours, so steps overlap
        self.size = 2 * bins + 3  # a shift, bins + 1 gaps between centres and the ends, and bins + 1 slopes

    def forward_and_log_det(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        read = self._read(parameters)
        return self._image(x, *read), self._slope(x, *read).log()

    def inverse_and_log_det(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        read = self._read(parameters)
        with torch.no_grad():
            x = self._bracketed(y, parameters[..., 0], *read)
        for _ in range(NEWTON_STEPS):
            x = x - (self._image(x, *read) - y) / self._slope(x, *read)
        return x, -self._slope(x, *read).log()

    def _bracketed(self, y: Tensor, shift: Tensor, *read: Tensor) -> Tensor:
        """A point near the root: it lies between (y - shift) exp(-limit) and (y - shift) exp(limit)."""
        rest = y - shift
        low, high = rest * math.exp(-self.limit), rest * math.exp(self.limit)
        low, high = torch.minimum(low, high), torch.maximum(low, high)
        for _ in range(HALVINGS):
            middle = 0.5 * low + 0.5 * high
            below = self._image(middle, *read) < y
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * low + 0.5 * high

    def _image(self, x: Tensor, offset: Tensor, centres: Tensor, first: Tensor, steps: Tensor) -> Tensor:
        return offset + first * x + self._rise(x[..., None] - centres, steps)

    def _slope(self, x: Tensor, offset: Tensor, centres: Tensor, first: Tensor, steps: Tensor) -> Tensor:
        return first + (steps * ((x[..., None] - centres) / self.width).sigmoid()).sum(-1)

    def _rise(self, distance: Tensor, steps: Tensor) -> Tensor:
        """The integral of the steps of the slope up to a distance from their centres."""
        return self.width * (steps * torch.logaddexp(distance / self.width, distance.new_zeros(()))).sum(-1)

    def _read(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The sum of the constants in y, the centres, the first slope, and the differences of the slopes."""
        shift, gaps, slopes = parameters.split((1, self.bins + 1, self.bins + 1), -1)
        centres = (2 * gaps.softmax(-1).cumsum(-1)[..., :-1] - 1) * self.bound
        slopes = bounded_exp(slopes, self.limit)
        steps = slopes.diff(dim=-1)
        return shift[..., 0] - self._rise(-centres, steps), centres, slopes[..., 0], steps

    def __repr__(self) -> str:
        return f"Monotone(bins={self.bins}, bound={self.bound:g})"
