"""Where a map or a density lives: small questions about the constraints of `torch.distributions`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints, transform_to
from torch.distributions.constraints import Constraint


class open_interval(constraints.interval):
    """lower < x < upper: where the inverse of a map is infinite at the bounds, they are no part of its image."""

    @property
    def bounds(self) -> tuple[float, float]:
        return self.lower_bound, self.upper_bound

    def check(self, value: Tensor) -> Tensor:
        return (self.lower_bound < value) & (value < self.upper_bound)


transform_to.register(open_interval)(lambda constraint: transform_to(constraints.interval(*constraint.bounds)))


def is_unbounded(constraint: Constraint) -> bool:
    """Whether every finite number, or vector of them, satisfies the constraint."""
    while hasattr(constraint, "base_constraint"):  # independent, or a mixture's
        constraint = constraint.base_constraint
    return constraint is constraints.real


def event_constraint(constraint: Constraint, event_dim: int) -> Constraint:
    """A constraint on single numbers or vectors, as a constraint on the last `event_dim` dimensions together."""
    extra = event_dim - constraint.event_dim
    return constraints.independent(constraint, extra) if extra > 0 else constraint


def replace_outside(value: Tensor, inside: Tensor, constraint: Constraint) -> Tensor:
    """`value` where its event is `inside`, elsewhere a point that satisfies the constraint."""
    verdict = inside.reshape(inside.shape + (1,) * (value.ndim - inside.ndim))
    return torch.where(verdict, value, transform_to(constraint)(torch.zeros_like(value)))


def clamp_to(value: Tensor, constraint: Constraint) -> Tensor:
    """`value` brought to the nearest bound of an interval; a constraint without bounds changes nothing."""
    lower, upper = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    value = value if lower is None else value.clamp(min=lower)
    return value if upper is None else value.clamp(max=upper)
