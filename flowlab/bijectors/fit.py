"""Whether maps fit each other, and a base: the shapes of events, and the supports of distributions between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowlab.bijectors.base import Bijector
from flowlab.torch_distributions import bounds, is_lower_dimensional, is_unbounded

SLACK = 1e-6  # for rounding, where two intervals are compared


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


def _leaves(support: Constraint, domain: Constraint) -> bool:
    """Whether some points of a support are known to lie outside a domain."""
    if is_lower_dimensional(support) or is_lower_dimensional(domain):
        return is_lower_dimensional(support) != is_lower_dimensional(domain)
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


def common_event_shape(parts: Sequence[Bijector]) -> tuple[int, ...] | None:
    """The shape of an event of the first part that suits all parts, None where any will do; found from the last back.

    Raises:
        ValueError: no shape suits a part and the part after it.
    """
    shape: tuple[int, ...] | None = None
    following = ""
    for part in reversed(parts):
        name = type(part).__name__
        try:
            shape = part.event_shape_before(shape)
        except ValueError as error:
            raise ValueError(f"Chain: {following} cannot follow {name}: {error}") from None
        following = name
    return shape
