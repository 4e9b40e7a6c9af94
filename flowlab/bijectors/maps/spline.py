"""The monotone rational quadratic spline."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowlab.bijectors.maps.base import Map
from flowlab.bijectors.maps.bins import Bins, split_bins

SMALLEST_BIN = 1e-3  # as a share of the box
STEEPEST = 20.0  # the largest slope at a knot and mean slope of a bin; the smallest is 1 / 20
LIMIT = math.log(STEEPEST)


class Spline(Map):
    r"""A rational quadratic spline with `bins` bins on the box [-bound, bound], and straight lines outside of it.

    In a bin of width w, height h and mean slope s = h / w, with slopes d0, d1 at its ends, let t be the part of the
    width left of x, and u = 1 - t:

    forward  y = y0 + h (s t^2 + d0 t u) / q, q = s t^2 + (d0 + d1) t u + s u^2
    log det  2 log s + log(d1 t^2 + 2 s t u + d0 u^2) - 2 log q
    inverse  t / u = r, the positive root of s (1 - v) r^2 - (v d1 - (1 - v) d0) r - s v = 0, v = (y - y0) / h

    Every sum has positive terms alone, and of the two forms of the root the one without a difference is used, so
    nothing cancels. The slopes at the ends of the box follow from their bins: the second derivative is 0 there. So the
    log det has a continuous derivative where the lines begin. At a knot inside, the log det is continuous.

    The parameters are the widths of the bins, each at least 1/1000 of the box. Then come the logs of the mean slopes of
    the bins up to a common factor. Last are the logs of the slopes at the knots inside. These slopes lie between 1/20
    and 20; so the slope of f lies between 1/8000 and 40 everywhere: inside of a bin it may be smaller than at both
    ends, and in the middle it is 4 s^2 / (2 s + d0 + d1). A point of float32 is known to half a unit of its last place,
    and f magnifies that by at most 40: in a box of half width 5 the error of f(f^-1(y)) is at most 1e-5.

    Arguments:
        bins: the number of bins, at least 2.
        bound: half the width of the box, in units of x.

    Raises:
        ValueError: too few bins, or a bound that is not positive and finite.

    Reference:
        | Neural Spline Flows (Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032

    Example:
        >>> import torch
        >>> from flowlab.bijectors.maps import Spline
        >>> spline = Spline(bins=4, bound=2.0)
        >>> parameters = torch.linspace(-1, 1, spline.size).expand(3, spline.size)
        >>> y, log_det = spline.forward_and_log_det(torch.tensor([-3.0, 0.5, 1.0]), parameters)
        >>> spline.inverse_and_log_det(y, parameters)[0].round(decimals=4)
        tensor([-3.0000,  0.5000,  1.0000])
    """

    def __init__(self, bins: int = 8, bound: float = 5.0) -> None:
        if bins < 2:
            raise ValueError(f"Spline: bins={bins!r} must be at least 2")
        if not 0 < bound < math.inf:
            raise ValueError(f"Spline: bound={bound!r} must be positive and finite")
        self.bins, self.bound = bins, bound
        self.size_of_slopes = bins - 1
        self.size = 3 * bins - 1

    def forward_and_log_det(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        inner, knots = x.clamp(-self.bound, self.bound), self._knots(parameters)
        y, log_det = self._image(inner, *knots)
        edge = torch.where(x < 0, knots[2].first, knots[2].last)
        return y + edge * (x - inner), log_det

    def inverse_and_log_det(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        inner, knots = y.clamp(-self.bound, self.bound), self._knots(parameters)
        x, log_det = self._preimage(inner, *knots)
        edge = torch.where(y < 0, knots[2].first, knots[2].last)
        return x + (y - inner) / edge, log_det

    def _image(self, x: Tensor, x_knots: Bins, y_knots: Bins, slopes: Bins) -> tuple[Tensor, Tensor]:
        """y and the log det for x in the box."""
        (x0, x1), (y0, y1), (d0, d1) = x_knots.around(x, (x_knots, y_knots, slopes))
        width, height = x1 - x0, y1 - y0
        s, t, u = height / width, (x - x0) / width, (x1 - x) / width
        denominator = s * (t * t + u * u) + (d0 + d1) * t * u
        y = y0 + height * (s * t * t + d0 * t * u) / denominator
        return y, _log_slope(s, t, u, d0, d1, denominator)

    def _preimage(self, y: Tensor, x_knots: Bins, y_knots: Bins, slopes: Bins) -> tuple[Tensor, Tensor]:
        """x and minus the log det for y in the box."""
        (x0, x1), (y0, y1), (d0, d1) = y_knots.around(y, (x_knots, y_knots, slopes))
        width, height = x1 - x0, y1 - y0
        s, v, rest = height / width, (y - y0) / height, (y1 - y) / height
        b = v * d1 - rest * d0
        both = b.abs() + (b * b + 4 * s * s * v * rest).sqrt()
        left = torch.where(b < 0, 2 * s * v, both)
        right = torch.where(b < 0, both, 2 * s * rest)
        t, u = left / (left + right), right / (left + right)
        x = torch.where(t < 0.5, x0 + width * t, x1 - width * u)
        denominator = s * (t * t + u * u) + (d0 + d1) * t * u
        return x, -_log_slope(s, t, u, d0, d1, denominator)

    def __repr__(self) -> str:
        return f"Spline(bins={self.bins}, bound={self.bound:g})"

    def _knots(self, parameters: Tensor) -> tuple[Bins, Bins, Bins]:
        """The knots in x and in y, and the slopes there: bins + 1 of each."""
        widths, means, slopes = split_bins(parameters, (self.bins, self.bins, self.size_of_slopes))
        widths = widths.softmax().map(lambda share: SMALLEST_BIN + (1 - SMALLEST_BIN * self.bins) * share)
        # Relative slopes from 1 / sqrt(20) to sqrt(20): divided by their mean they lie between 1/20 and 20.
        heights = widths.map(lambda width, raw: width * bounded_exp(raw, LIMIT / 2), means)
        x, y = self._positions(widths), self._positions(heights.shares())
        learned = slopes.map(lambda raw: bounded_exp(raw, LIMIT))
        return x, y, self._slopes(learned, y.differences().map(torch.div, x.differences()))

    def _slopes(self, learned: Bins, mean: Bins) -> Bins:
        """The slopes at all knots, from those that are learned and from the mean slopes of the bins."""
        first = _edge_slope(mean.first, learned.first)
        return learned.between([first], [_edge_slope(mean.last, learned.last)])

    def _positions(self, sizes: Bins) -> Bins:
        end = torch.full_like(sizes.first, self.bound)
        return sizes.cumulative().map(lambda total: (total * 2 - 1) * self.bound).between([-end], [end])


def bounded_exp(raw: Tensor, limit: float) -> Tensor:
    """exp(limit tanh(raw / limit)): 1 at 0, and between exp(-limit) and exp(limit)."""
    return (limit * torch.tanh(raw / limit)).exp()


def _log_slope(s: Tensor, t: Tensor, u: Tensor, d0: Tensor, d1: Tensor, denominator: Tensor) -> Tensor:
    return (s * s * (d1 * t * t + 2 * s * t * u + d0 * u * u)).log() - 2 * denominator.log()


def _edge_slope(s: Tensor, d: Tensor) -> Tensor:
    """The slope at an end where the second derivative is 0: e^2 + (d - s) e - s^2 = 0, d the slope at the other end."""
    half = (s - d) / 2
    root = torch.hypot(half, s)
    return torch.where(half < 0, s * s / (root - half), root + half)
