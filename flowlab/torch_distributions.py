"""Questions about objects of `torch.distributions`: the supports that constraints describe, and the tensors inside."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint, MixtureSameFamilyConstraint
from torch.distributions.transforms import Transform, _InverseTransform


class open_interval(constraints.interval):
    """lower < x < upper, for a map whose inverse is infinite at the bounds, which its image does not contain."""

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

# Events with more numbers than free coordinates: the sum is known, or half of a matrix determines the other half.
LOWER_DIMENSIONAL = tuple(
    type(getattr(constraints, name))
    for name in ("simplex", "lower_triangular", "lower_cholesky", "corr_cholesky", "symmetric")
)


def is_lower_dimensional(constraint: Constraint) -> bool:
    """Whether an event that satisfies the constraint has fewer free coordinates than numbers, as on a simplex."""
    return isinstance(innermost(constraint), LOWER_DIMENSIONAL)


def is_unbounded(constraint: Constraint) -> bool:
    """Whether every finite number, or every vector of finite numbers, satisfies the constraint."""
    return innermost(constraint) is constraints.real


def innermost(constraint: Constraint) -> Constraint:
    """The constraint of the numbers: inside an independent constraint, or a mixture's."""
    while hasattr(constraint, "base_constraint"):  # an independent or a mixture
        constraint = constraint.base_constraint
    return constraint


def event_constraint(constraint: Constraint, event_dim: int) -> Constraint:
    """A constraint on the last `event_dim` dimensions together, from one on single numbers or vectors."""
    extra = event_dim - constraint.event_dim
    return constraints.independent(constraint, extra) if extra > 0 else constraint


def can_branch_on_values(points: Tensor) -> bool:
    """Whether Python may branch on the values of a tensor: they are in CPU memory, and nothing records the operations.

    False while gradients are recorded, under `vmap` and other functional transforms, and in a traced or compiled graph.

    Example:
        >>> import torch
        >>> from flowlab.torch_distributions import can_branch_on_values
        >>> can_branch_on_values(torch.zeros(2)), torch.no_grad()(can_branch_on_values)(torch.zeros(2))
        (False, True)
    """
    recorded = (  # torch has no public names for the last two; these work in 2.13
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
    )
    return not recorded and type(points) is Tensor and points.device.type == "cpu"


def holds_for_all(constraint: Constraint, value: Tensor) -> bool:
    """Whether all numbers lie in an interval, by the smallest and the largest: faster than a check of each.

    False means unknown where the constraint is not an interval between two numbers.

    Example:
        >>> import torch
        >>> from torch.distributions import constraints
        >>> from flowlab.torch_distributions import holds_for_all
        >>> holds_for_all(constraints.positive, torch.tensor([1.0, 2.0]))
        True
    """
    interval = innermost(constraint)
    bounds = [getattr(interval, name) for name in ("lower_bound", "upper_bound") if hasattr(interval, name)]
    if interval.is_discrete or not bounds or any(isinstance(bound, Tensor) for bound in bounds) or not value.numel():
        return False
    smallest, largest = value.aminmax()
    return bool(interval.check(smallest) & interval.check(largest))


def replace_outside(value: Tensor, inside: Tensor, constraint: Constraint) -> Tensor:
    """`value` where its event is `inside`, elsewhere a point that satisfies the constraint."""
    if isinstance(constraint, MixtureSameFamilyConstraint):
        constraint = constraint.base_constraint
    mask = inside.reshape(inside.shape + (1,) * (value.ndim - inside.ndim))
    transform = transform_to(constraint)
    event_shape = value.shape[value.ndim - constraint.event_dim :]
    return torch.where(mask, value, transform(value.new_zeros(transform.inverse_shape(event_shape))))


def clamp_to(value: Tensor, constraint: Constraint) -> Tensor:
    """`value` clamped to the bounds of an interval; a constraint without bounds changes nothing."""
    lower, upper = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    value = value if lower is None else value.clamp(min=lower)
    return value if upper is None else value.clamp(max=upper)


def tensors_of(thing: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a distribution or transform, and of all inside it, by names that a module can register."""
    found: dict[str, Tensor] = {}
    for name, value in _inside(thing):
        key = f"{prefix}{name.strip('_')}"
        found.update({key: value} if isinstance(value, Tensor) else tensors_of(value, f"{key}_"))
    return found


def rebuild(thing: Any, tensors: Mapping[str, Tensor], prefix: str = "") -> Any:
    """A copy of a distribution or transform that uses the given tensors instead of its own."""
    if isinstance(thing, list | tuple):
        return [rebuild(part, tensors, f"{prefix}{number}_") for number, part in enumerate(thing)]
    clone = copy.copy(thing)
    if isinstance(clone, Transform):
        clone._inv = None  # the inverse that torch caches would still use the old tensors
    for name, value in _inside(thing):
        key = f"{prefix}{name.strip('_')}"
        setattr(clone, name, tensors[key] if isinstance(value, Tensor) else rebuild(value, tensors, f"{key}_"))
    return clone


def detached_copy(thing: Any) -> Any:
    """A copy of a distribution or transform that shares neither cached results nor a graph with it."""
    return rebuild(thing, {name: tensor.detach() for name, tensor in tensors_of(thing).items()})


def _inside(thing: Any) -> list[tuple[str, Any]]:
    if isinstance(thing, list | tuple):
        return [(str(number), part) for number, part in enumerate(thing)]
    # In `_inv` an inverse keeps the transform that it inverts; any other transform caches its own inverse there.
    cached = () if isinstance(thing, _InverseTransform) else ("_inv",)
    return [(name, value) for name, value in vars(thing).items() if name not in cached and _is_part(value)]


def _is_part(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(part, Distribution | Transform) for part in value)
    return isinstance(value, Tensor | Distribution | Transform)
