"""The map from the real line to the domain of each column, and the bijector that ends a flow on a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import AffineTransform, biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform
from torch.nn.functional import logsigmoid

from flowlab.bijectors import AffineScalar, Bijector, Chain, to_transform
from flowlab.tables.robust import RobustScale

if TYPE_CHECKING:
    import numpy as np

    from flowlab.targets.base import Standardization


class open_intervals(constraints.interval):
    """lower < x < upper for each column; an end may be infinite."""

    def check(self, value: Tensor) -> Tensor:
        return (self.lower_bound < value) & (value < self.upper_bound)


@transform_to.register(open_intervals)
def _to_middle(constraint: open_intervals) -> Transform:
    """0 becomes a point inside of each interval; it is arithmetic alone, since compiled steps take it."""
    low, high = constraint.lower_bound, constraint.upper_bound
    above, below = low > -torch.inf, high < torch.inf
    # Halves first: a sum of two large ends could overflow.
    between = torch.where(above & below, low, 0.0) / 2 + torch.where(above & below, high, 0.0) / 2
    middle = torch.where(above, torch.where(below, between, low + 1 + low.abs()), high - 1 - high.abs())
    return AffineTransform(torch.where(above | below, middle, 0.0), 1.0)


@biject_to.register(open_intervals)
def _to_intervals(constraint: open_intervals) -> Transform:
    return to_transform(Domains(constraint.lower_bound, constraint.upper_bound))


class Domains(Bijector):
    r"""The real line to an open interval (low, high) for each coordinate; an end may be infinite.

    forward  y = x on all numbers; low + exp(x) above low; high - exp(-x) below high; otherwise
             y = low + (high - low) sigmoid(x)
    inverse  x = y; log(y - low); -log(high - y); log(y - low) - log(high - y)
    log det  0; x; -x; log(high - low) + log sigmoid(x) + log sigmoid(-x)

    The log det is computed from x, where it does not cancel. Images are clamped to the first and the last number inside
    of the interval, so no rounding of an image reaches an end.

    Arguments:
        low, high: the ends of each coordinate's interval, of shape (dim,), infinite where there is none. They are
            constants, and a state dict does not hold them: the schema of a table does.

    Raises:
        ValueError: a lower end is not below the upper one.

    Example:
        >>> import torch
        >>> from flowlab.tables.domains import Domains
        >>> domains = Domains(torch.tensor([-torch.inf, 0.0, 0.0]), torch.tensor([torch.inf, torch.inf, 24.0]))
        >>> domains(torch.zeros(3))
        tensor([ 0.,  1., 12.])
    """

    sign = +1
    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        if not low.is_meta and not bool((low < high).all()):
            raise ValueError(f"Domains: low={low.tolist()} must be below high={high.tolist()}")
        self.register_buffer("low", low.clone(), persistent=False)  # a checkpoint holds finite numbers alone
        self.register_buffer("high", high.clone(), persistent=False)
        self.parameter_shape = torch.broadcast_shapes(low.shape, high.shape)

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        return open_intervals(self.low, self.high)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        low, high, above, below = self._ends()
        one_end = above ^ below
        # Other branches see 0, so an overflow there makes no NaN in a gradient.
        step = torch.where(one_end, torch.where(above, x, -x), 0.0).exp()
        between = low + (high - low) * torch.where(above & below, x, 0.0).sigmoid()
        y = torch.where(above, torch.where(below, between, low + step), torch.where(below, high - step, x))
        limits, low, high = torch.finfo(y.dtype), low.to(y.dtype), high.to(y.dtype)  # y may be the more precise
        first = torch.where(above, low + low.abs() * limits.eps + limits.tiny, -limits.max)
        last = torch.where(below, high - high.abs() * limits.eps - limits.tiny, limits.max)
        return torch.minimum(torch.maximum(y, first), last)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        low, high, above, below = self._ends()
        from_low = torch.where(above, y - low, 1.0).log()
        from_high = torch.where(below, high - y, 1.0).log()
        return torch.where(above | below, from_low - from_high, y)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x), self._log_det(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.inverse(y)
        return x, -self._log_det(x)

    def _ends(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The ends, 0 where they are infinite, and where there is a lower one and an upper one."""
        above, below = self.low > -torch.inf, self.high < torch.inf
        return torch.where(above, self.low, 0.0), torch.where(below, self.high, 0.0), above, below

    def _log_det(self, x: Tensor) -> Tensor:
        low, high, above, below = self._ends()
        both = above & below
        width = torch.where(both, high - low, 1.0).log()
        inner = torch.where(both, x, 0.0).clamp(-torch.finfo(x.dtype).max, torch.finfo(x.dtype).max)
        between = width + 2 * logsigmoid(inner) - inner
        return torch.where(both, between, torch.where(above, x, torch.where(below, -x, 0.0)))


def standardize(center: Tensor, spread: Tensor, robust: bool = False) -> Bijector:
    """The bijector from standardized points to points with a center and a spread; see RobustScale for `robust`."""
    return (RobustScale if robust else AffineScalar)(shift=center, scale=spread)


def to_units(standardization: Standardization | None, domains: tuple[np.ndarray, np.ndarray] | None) -> Bijector | None:
    """The bijector that ends a flow: from standardized points to the units of the data.

    Arguments:
        standardization: center and spread in the unconstrained space, and whether it is robust; None: it is left out.
        domains: the ends of the columns' intervals; None if all columns are real.
    """
    scale = [] if standardization is None else [standardize(*standardization)]
    last = [] if domains is None else [Domains(*map(torch.as_tensor, domains))]
    parts = [*scale, *last]
    return None if not parts else parts[0] if len(parts) == 1 else Chain(parts)
