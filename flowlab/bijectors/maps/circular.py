"""A rational quadratic spline of the circle."""

from __future__ import annotations

import math

from torch import Tensor

from flowlab.bijectors.maps.bins import Bins
from flowlab.bijectors.maps.spline import Spline


class CircularSpline(Spline):
    r"""A rational quadratic spline for angles: f(x + p) = f(x) + p for the period p = 2 bound.

    forward  y = g(x - n p) + n p + phase, n = floor((x + bound) / p), g the spline of the box [-bound, bound]
    log det  that of g; it has the period p

    The slopes of g at both ends of the box are one parameter, so the log det is continuous where a turn begins. The
    phase turns the circle. Points are not wrapped into one turn, so f is smooth in x and in the parameters;
    `torch.remainder` wraps samples. For a density of angles, use a base with a periodic density on the whole line, such
    as `torch.distributions.VonMises`. The conditioner should see the cosines and sines of angles.

    Arguments:
        bins: the number of bins, at least 2.
        bound: half the period, in units of x.

    Raises:
        ValueError: too few bins, or a bound that is not positive and finite.

    Reference:
        | Normalizing Flows on Tori and Spheres (Danilo Jimenez Rezende et al., 2020)
        | https://arxiv.org/abs/2002.02428

    Example:
        >>> import torch
        >>> from flowlab.bijectors.maps import CircularSpline
        >>> circular = CircularSpline(bins=4)
        >>> parameters = torch.linspace(-1, 1, circular.size)
        >>> y, _ = circular.forward_and_log_det(torch.tensor([0.5, 0.5 + 2 * torch.pi]), parameters)
        >>> y[1] - y[0]
        tensor(6.2832)
    """

    def __init__(self, bins: int = 8, bound: float = math.pi) -> None:
        super().__init__(bins, bound)
        self.size_of_slopes = bins
        self.size = 3 * bins + 1  # the phase first

    def forward_and_log_det(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        turns, inner = self._split_turns(x)
        y, log_det = self._image(inner, *self._knots(parameters[..., 1:]))
        return y + turns + parameters[..., 0], log_det

    def inverse_and_log_det(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        turns, inner = self._split_turns(y - parameters[..., 0])
        x, log_det = self._preimage(inner, *self._knots(parameters[..., 1:]))
        return x + turns, log_det

    def _split_turns(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """A multiple of the period, and the rest in [-bound, bound]."""
        turns = 2 * self.bound * ((points + self.bound) / (2 * self.bound)).floor()
        return turns, (points - turns).clamp(-self.bound, self.bound)

    def _slopes(self, learned: Bins, mean: Bins) -> Bins:
        return learned.between([], [learned.first])

    def __repr__(self) -> str:
        return f"CircularSpline(bins={self.bins}, bound={self.bound:g})"
