"""Shapes and supports in words: whether maps fit each other and their points, and the table of a bijector's tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowlab.torch_distributions import bounds, innermost, is_lower_dimensional, is_unbounded

if TYPE_CHECKING:
    import pandas

    from flowlab.bijectors.base import Bijector

SLACK = 1e-6  # for rounding, where two intervals are compared
PASSES = ["forward_passes", "inverse_passes"]


def event_shape_error(owner: str, given: tuple[int, ...], event_shape: tuple[Any, ...]) -> ValueError:
    """The error for points that do not end in the shape of an event: both shapes and a remedy."""
    remedy = f"give points of shape (*, {', '.join(map(str, event_shape))})"
    if event_shape == (1,):
        remedy += ", such as x[:, None] for a vector x of scalars" if len(given) < 2 else ", such as x[..., None]"
    elif len(event_shape) == 1 and len(given) > 1 and given[-2] == event_shape[0]:
        remedy += ", such as x.mT for points in columns"
    shape = f"({', '.join(map(str, event_shape))}{',' * (len(event_shape) == 1)})"
    return ValueError(f"{owner}: points of shape {given} do not hold events of shape {shape}; {remedy}")


def check_dim(owner: str, dim: int) -> None:
    """Check the length of a vector; a ValueError, which names the owner, if it is below 1."""
    if dim < 1:
        raise ValueError(f"{owner}: dim={dim!r} must be at least 1")


def probe_parameter_shape(bijector: Bijector, method: str) -> torch.Size:
    """The shape of the image of one number under an elementwise map; () where the map takes no single number."""
    tensors = (*bijector.parameters(), *bijector.buffers(), torch.empty(0))
    like = next(tensor for tensor in tensors if tensor.is_floating_point())
    try:
        with torch.no_grad():
            return getattr(bijector, method)(like.new_zeros(()), None).shape
    except Exception:  # a user's code may raise anything, as where it needs a context
        return torch.Size()


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """Sum over the last `dims` dimensions; 0 leaves the value unchanged."""
    return value.sum(dim=tuple(range(-dims, 0))) if dims > 0 else value


def broadcast_batches(points: Sequence[int], context: Sequence[int]) -> torch.Size:
    """The batch shape of points, given without their event, and of a context of shape (*batch, c) together.

    Raises:
        ValueError: the context is a scalar, or the two batches do not broadcast.
    """
    if not context:
        raise ValueError("context: a scalar; its last dimension is the context vector; use context[None]")
    try:
        return torch.broadcast_shapes(torch.Size(points), torch.Size(context[:-1]))
    except RuntimeError:
        raise ValueError(
            f"context of shape {tuple(context)}: its batch {tuple(context[:-1])} does not broadcast against points of "
            f"batch {tuple(points)}; the last dimension is the context vector, all before it are batch"
        ) from None


def check_batch(points: Sequence[int], batch: Sequence[int]) -> None:
    """Check that the batch shape of points broadcasts against the batch shape of a flow; a ValueError if not."""
    if any(a != b and 1 not in (a, b) for a, b in zip(points[::-1], batch[::-1], strict=False)):
        raise ValueError(
            f"Flow: points of batch {tuple(points)} do not broadcast against the flow's batch {tuple(batch)}; give "
            "points with that batch last, or with 1 in its place"
        )


def broadcast_context(x: Tensor, context: Tensor, event_dim: int) -> Tensor:
    """A context of shape (*batch, c) with a row for each point of shape (*batch, *event), so both can be concatenated.

    Raises:
        ValueError: the two batches do not broadcast.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import broadcast_context
        >>> x, context = torch.zeros(7, 5, 2), torch.ones(5, 3)
        >>> torch.cat([x, broadcast_context(x, context, event_dim=1)], -1).shape
        torch.Size([7, 5, 5])
    """
    batch = broadcast_batches(x.shape[: x.ndim - event_dim], context.shape)
    return context.expand(*batch, context.shape[-1])


def summarize(layers: Iterable[nn.Module], first: int) -> pandas.DataFrame:
    """One row for each layer, numbered from `first`: name, shapes, how many numbers are trainable and constant.

    Where a layer declares that a direction takes several passes of its network, two more columns say how many.
    """
    import pandas  # takes as long to import as torch

    rows = []
    for number, layer in enumerate(layers, start=first):
        named = [*layer.named_parameters(), *layer.named_buffers()]
        shapes = [f"{name.rpartition('.')[2]} {tuple(tensor.shape)}" for name, tensor in named if tensor.numel()]
        trainable = sum(parameter.numel() for parameter in layer.parameters() if parameter.requires_grad)
        rows.append(
            {
                "layer": str(number),
                "name": getattr(layer, "layer_name", type(layer).__name__),
                "shapes": ", ".join(shapes),
                "trainable": trainable,
                "constant": sum(tensor.numel() for _, tensor in named) - trainable,
                **{name: getattr(layer, name, 1) for name in PASSES},
            }
        )
    columns = ["layer", "name", "shapes", "trainable", "constant", *PASSES]
    table = pandas.DataFrame(rows, columns=columns).set_index("layer")
    return table if (table[PASSES] > 1).any(axis=None) else table.drop(columns=PASSES)


def check_supports(parts: Sequence[Bijector]) -> None:
    """Check that maps can follow each other, beginning with the domain of the first, or else back from the last.

    The inverse of a chain, such as a shift followed by log, often makes sense in the second way alone.

    Raises:
        ValueError: the points before a map are known not to lie in its domain, in both ways.
    """
    try:
        push_support(parts[0].domain if parts else None, parts, "Chain")
    except ValueError:
        if not all(part.has_inverse for part in parts) or _is_refused([part.inv for part in reversed(parts)]):
            raise


def _is_refused(parts: Sequence[Bijector]) -> bool:
    try:
        push_support(parts[0].domain, parts, "Chain")
    except ValueError:
        return True
    return False


def push_support(support: Constraint | None, parts: Iterable[Bijector], owner: str) -> Constraint | None:
    """The support of a distribution after maps applied one after another; None where it is unknown.

    Raises:
        ValueError: the points before a map are known not to lie in its domain.
    """
    before = ""
    for part in parts:
        if support is not None and _leaves(support, part.domain):
            name, there = part.layer_name, "the base lies"
            if before:
                name, there = f"{name} cannot follow {before}: it", "the points there lie"
            raise ValueError(
                f"{owner}: {name} maps {_describe(part.domain)}, but {there} on {_describe(support)}; put a map from "
                "one to the other before it, such as Softplus() onto (0, inf), Sigmoid() onto (0, 1), "
                "SoftmaxCentered() onto a simplex, or the inverse of one of them"
            )
        support, before = None if support is None else _image(support, part), part.layer_name
    return support


def is_within(inner: Constraint, outer: Constraint) -> bool:
    """Whether all numbers that satisfy one constraint are known to satisfy another.

    Example:
        >>> from torch.distributions import constraints
        >>> from flowlab.bijectors.shapes import is_within
        >>> is_within(constraints.unit_interval, constraints.nonnegative)
        True
        >>> is_within(constraints.real, constraints.nonnegative)
        False
    """
    if is_unbounded(outer):
        return True
    inside, outside = bounds(inner), bounds(outer)
    if inside is None or outside is None:
        return inner == outer
    return bool((inside[0] >= outside[0]).all() and (inside[1] <= outside[1]).all())


def _leaves(support: Constraint, domain: Constraint) -> bool:
    """Whether some points of a support are known to lie outside a domain."""
    if is_lower_dimensional(support) or is_lower_dimensional(domain):
        return is_lower_dimensional(support) != is_lower_dimensional(domain)
    if isinstance(parts := innermost(domain), constraints.cat):
        return any(_leaves(support, part) for part in parts.cseq)
    inner, outer = bounds(support), bounds(domain)
    if inner is None or outer is None or outer[0].ndim or outer[1].ndim:
        return False
    return bool((inner[0] < outer[0] - SLACK).any() | (inner[1] > outer[1] + SLACK).any())


def _image(support: Constraint, part: Bijector) -> Constraint | None:
    """The image of a support: between the images of its ends, or the codomain of the whole domain; None: unknown."""
    inner, outer = bounds(support), bounds(part.domain)
    if inner is None or outer is None:
        return part.codomain if is_lower_dimensional(support) else None
    elementwise = part.event_dim == part.image_event_dim == 0 and (part.affine or part.parameter_shape is not None)
    if elementwise and bool(torch.as_tensor(part.sign).all()) and not any(p.requires_grad for p in part.parameters()):
        first, last = (part.unchecked_forward(end) for end in inner)
        if not bool((first.isnan() | last.isnan()).any()):
            return constraints.interval(torch.minimum(first, last), torch.maximum(first, last))
    whole = all(bool((end == fixed).all()) for end, fixed in zip(inner, outer, strict=True))
    return part.codomain if whole and part.onto else None


def _describe(constraint: Constraint) -> str:
    ends = bounds(constraint)
    if ends is None or ends[0].ndim or ends[1].ndim:
        return str(constraint)
    return "all numbers" if is_unbounded(constraint) else f"({ends[0]:g}, {ends[1]:g})"
