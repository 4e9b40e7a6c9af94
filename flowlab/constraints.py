"""Where a map or a density lives: small questions about the constraints of `torch.distributions`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint


class open_interval(constraints.interval):
    """lower < x < upper: where the inverse of a map is infinite at the bounds, they are no part of its image."""

    @property
    def bounds(self) -> tuple[float, float]:
        return self.lower_bound, self.upper_bound

    def check(self, value: Tensor) -> Tensor:
        return (self.lower_bound < value) & (value < self.upper_bound)


class open_simplex(type(constraints.simplex)):  # type: ignore[misc]
    """Positive numbers that sum to 1 along the last dimension: the simplex without its faces."""

    def check(self, value: Tensor) -> Tensor:
        return super().check(value) & (value > 0).all(-1)


for registry in (transform_to, biject_to):
    registry.register(open_interval)(lambda constraint, onto=registry: onto(constraints.interval(*constraint.bounds)))
    registry.register(open_simplex)(lambda constraint, onto=registry: onto(constraints.simplex))

# What holds more numbers than free coordinates: the sum is known, or one half of a matrix from the other.
THIN = tuple(
    type(constraint)
    for constraint in (
        constraints.simplex,
        constraints.lower_triangular,
        constraints.lower_cholesky,
        constraints.corr_cholesky,
        constraints.symmetric,
    )
)


def is_thin(constraint: Constraint) -> bool:
    """Whether an event that satisfies the constraint has fewer free coordinates than numbers, as on a simplex."""
    return isinstance(_innermost(constraint), THIN)


def is_unbounded(constraint: Constraint) -> bool:
    """Whether every finite number, or vector of them, satisfies the constraint."""
    return _innermost(constraint) is constraints.real


def _innermost(constraint: Constraint) -> Constraint:
    while hasattr(constraint, "base_constraint"):  # independent, or a mixture's
        constraint = constraint.base_constraint
    return constraint


def event_constraint(constraint: Constraint, event_dim: int) -> Constraint:
    """A constraint on single numbers or vectors, as a constraint on the last `event_dim` dimensions together."""
    extra = event_dim - constraint.event_dim
    return constraints.independent(constraint, extra) if extra > 0 else constraint


def holds_for_all(constraint: Constraint, value: Tensor) -> bool:
    """Whether all numbers lie in an interval, by the least and the greatest: quicker than a verdict on each.

    False says nothing: so it is too where the constraint is no interval between two numbers.

    Example:
        >>> import torch
        >>> from torch.distributions import constraints
        >>> from flowlab.constraints import holds_for_all
        >>> holds_for_all(constraints.positive, torch.tensor([1.0, 2.0]))
        True
    """
    interval = _innermost(constraint)
    bounds = [getattr(interval, name) for name in ("lower_bound", "upper_bound") if hasattr(interval, name)]
    if interval.is_discrete or not bounds or any(isinstance(bound, Tensor) for bound in bounds) or not value.numel():
        return False
    least, greatest = value.aminmax()
    return bool(interval.check(least) & interval.check(greatest))


def replace_outside(value: Tensor, inside: Tensor, constraint: Constraint) -> Tensor:
    """`value` where its event is `inside`, elsewhere a point that satisfies the constraint."""
    verdict = inside.reshape(inside.shape + (1,) * (value.ndim - inside.ndim))
    transform = transform_to(constraint)
    event_shape = value.shape[value.ndim - constraint.event_dim :]
    return torch.where(verdict, value, transform(value.new_zeros(transform.inverse_shape(event_shape))))


def clamp_to(value: Tensor, constraint: Constraint) -> Tensor:
    """`value` brought to the nearest bound of an interval; a constraint without bounds changes nothing."""
    lower, upper = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    value = value if lower is None else value.clamp(min=lower)
    return value if upper is None else value.clamp(max=upper)
