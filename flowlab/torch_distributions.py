"""Questions about objects of `torch.distributions`: the supports that constraints describe, and the tensors inside."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform, _InverseTransform
from torch.distributions.utils import lazy_property
from torch.fx.experimental.proxy_tensor import get_proxy_mode

NUMBERS = {constraints.real, constraints.real_vector}  # constraints that every number or vector satisfies
LEAVES = (Tensor, nn.Module)  # what a module registers


class open_interval(constraints.interval):
    """lower < x < upper, for a map whose inverse is infinite at the bounds, which its image does not contain."""

    @property
    def bounds(self) -> tuple[float, float]:
        return self.lower_bound, self.upper_bound

    def check(self, value: Tensor) -> Tensor:
        return (self.lower_bound < value) & (value < self.upper_bound)


class loose_simplex(type(constraints.simplex)):  # type: ignore[misc]
    """Numbers from 0 that sum to 1 along the last dimension, up to rounding, which grows with their count."""

    def check(self, value: Tensor) -> Tensor:
        slack = max(1e-6, 16 * torch.finfo(value.dtype).eps * value.shape[-1] ** 0.5)
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < slack)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class open_simplex(loose_simplex):
    """Positive numbers that sum to 1 along the last dimension: the simplex without its faces."""

    def check(self, value: Tensor) -> Tensor:
        return super().check(value) & (value > 0).all(-1)


for registry in (transform_to, biject_to):
    registry.register(open_interval)(lambda constraint, onto=registry: onto(constraints.interval(*constraint.bounds)))
    for kind in (loose_simplex, open_simplex):
        registry.register(kind)(lambda constraint, onto=registry: onto(constraints.simplex))

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
    # By type: a copied bijector holds a copy of torch's constraint.
    return isinstance(innermost(constraint), type(constraints.real))


def innermost(constraint: Constraint) -> Constraint:
    """The constraint of the numbers: inside an independent constraint, or a mixture's."""
    while hasattr(constraint, "base_constraint"):  # an independent or a mixture
        constraint = constraint.base_constraint
    return constraint


def bounds(constraint: Constraint) -> tuple[Tensor, Tensor] | None:
    """The ends between which the numbers lie; None where they lie in no interval, or their values are not known."""
    interval = innermost(constraint)
    if not is_unbounded(interval) and not (hasattr(interval, "lower_bound") or hasattr(interval, "upper_bound")):
        return None
    lower = torch.as_tensor(getattr(interval, "lower_bound", -torch.inf), dtype=torch.get_default_dtype())
    upper = torch.as_tensor(getattr(interval, "upper_bound", torch.inf), dtype=torch.get_default_dtype())
    return None if lower.is_meta or upper.is_meta else (lower, upper)


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
    recorded = torch.is_grad_enabled() or _is_transformed()
    return not recorded and type(points) is Tensor and points.device.type == "cpu"


def is_recorded_by_autograd_alone(points: Tensor) -> bool:
    """Whether gradients are recorded, and by nothing else than `backward`: not by a transform, a trace or a compiler.

    Example:
        >>> import torch
        >>> from flowlab.torch_distributions import is_recorded_by_autograd_alone
        >>> is_recorded_by_autograd_alone(torch.zeros(2)), torch.func.grad(
        ...     lambda x: x * float(is_recorded_by_autograd_alone(x))
        ... )(torch.tensor(1.0))
        (True, tensor(0.))
    """
    return torch.is_grad_enabled() and type(points) is Tensor and not _is_transformed()


def is_compiled() -> bool:
    """Whether operations are recorded for a compiler: by `torch.compile`, or by `make_fx`.

    Example:
        >>> from flowlab.torch_distributions import is_compiled
        >>> is_compiled()
        False
    """
    return torch.compiler.is_compiling() or get_proxy_mode() is not None


def _is_transformed() -> bool:
    return (  # torch has no public names for the last three; these work in 2.13
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch.autograd.forward_ad._current_level >= 0
    )


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
    mask = inside.reshape(inside.shape + (1,) * (value.ndim - inside.ndim))
    transform = transform_to(constraint)
    event_shape = value.shape[value.ndim - constraint.event_dim :]
    return torch.where(mask, value, transform(value.new_zeros(transform.inverse_shape(event_shape))))


def clamp_to(value: Tensor, constraint: Constraint) -> Tensor:
    """`value` clamped to the bounds of an interval; a constraint without bounds changes nothing."""
    interval = innermost(constraint)
    lower, upper = getattr(interval, "lower_bound", None), getattr(interval, "upper_bound", None)
    value = value if lower is None else value.clamp(min=lower)
    return value if upper is None else value.clamp(max=upper)


class KeptInverse(_InverseTransform):
    """The inverse of a transform, for copies and pickles, in which torch's own forgets what it inverts."""

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)


def contents_of(thing: Any, prefix: str = "") -> dict[str, Tensor | nn.Module]:
    """The tensors and modules of a distribution or transform, and of all inside it, by names for a module to register.

    Raises:
        ValueError: a tensor was computed from an `nn.Parameter`, which is not kept, so it would not be learned.
    """
    found: dict[str, Tensor | nn.Module] = {}
    for name, value in _inside(thing):
        key = f"{prefix}{str(name).strip('_')}"
        if isinstance(value, Tensor) and _comes_from_parameter(value):
            raise ValueError(
                f"{type(thing).__name__}: {name} was computed from an nn.Parameter, which is not kept, so it would not "
                "be learned; make it a constant by .detach(), and learn a bijector instead, such as "
                "AffineScalar(loc, scale) or LowRankAffine(dim)"
            )
        found.update({key: value} if isinstance(value, LEAVES) else contents_of(value, f"{key}_"))
    return found


def register_contents(module: nn.Module, thing: Any, suffix: str = "") -> Any:
    """Register the tensors and modules of a distribution or transform, and return a template for `rebuild`.

    The template shares neither cached results nor a graph with the original. Indices and masks keep their dtype.
    """
    contents = contents_of(thing)
    for name, value in contents.items():
        if isinstance(value, nn.Module):
            module.add_module(f"{name}{suffix}", value)
        elif isinstance(value, nn.Parameter):
            module.register_parameter(f"{name}{suffix}", value)
        else:  # nothing can be loaded into an expanded tensor
            module.register_buffer(f"{name}{suffix}", value.detach().clone())
    return rebuild(
        thing, {name: each.detach() if isinstance(each, Tensor) else each for name, each in contents.items()}
    )


def registered(module: nn.Module) -> dict[str, Any]:
    """The parameters, buffers and modules that a module holds itself, by name."""
    return {**module._parameters, **module._buffers, **module._modules}


def rebuild(thing: Any, contents: Mapping[str, Any], prefix: str = "") -> Any:
    """A copy of a distribution or transform that uses the given tensors and modules instead of its own."""
    parts = {}
    for name, value in _inside(thing):
        key = f"{prefix}{str(name).strip('_')}"
        parts[name] = contents[key] if isinstance(value, LEAVES) else rebuild(value, contents, f"{key}_")
    if isinstance(thing, Mapping):
        return {**thing, **parts}
    if isinstance(thing, list | tuple):
        return type(thing)(parts.get(place, each) for place, each in enumerate(thing))
    clone = KeptInverse(thing.inv) if isinstance(thing, _InverseTransform) else copy.copy(thing)
    if isinstance(clone, Transform):  # what torch caches would still use the old tensors
        clone._inv, clone._cached_x_y = None, (None, None)
    if isinstance(clone, Distribution):
        clone._validate_args = False  # points are checked before, with a tolerance for rounding
    vars(clone).update(parts)
    return clone


def _inside(thing: Any) -> list[tuple[Any, Any]]:
    """Return the parts of a distribution, transform or container that hold tensors, by attribute, index or key."""
    if isinstance(thing, list | tuple):
        return [(place, part) for place, part in enumerate(thing) if _is_part(part)]
    if isinstance(thing, Mapping):
        return [(key, part) for key, part in thing.items() if _is_part(part)]
    return [(name, value) for name, value in vars(thing).items() if _is_part(value) and not _is_cached(thing, name)]


def _is_part(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return any(map(_is_part, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, (*LEAVES, Distribution, Transform))


def _is_cached(thing: Any, name: str) -> bool:
    """Whether an attribute is a result that torch keeps, not what the object was made of."""
    if name == "_inv":  # here an inverse keeps the transform that it inverts; any other transform caches its inverse
        return not isinstance(thing, _InverseTransform)
    return name == "_cached_x_y" or (name[0] == "_" and isinstance(getattr(type(thing), name, None), lazy_property))


def _comes_from_parameter(tensor: Tensor) -> bool:
    """Whether a tensor was computed from an `nn.Parameter`, also as a view of one without a gradient."""
    if isinstance(tensor, nn.Parameter):
        return False
    nodes, seen = [tensor.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(getattr(node, "variable", None), nn.Parameter):
            return True
        nodes += [following for following, _ in node.next_functions]
    return isinstance(tensor._base, nn.Parameter)
