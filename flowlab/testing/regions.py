"""Points that are not drawn at random: far out, and in the declared codomain."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import transform_to
from torch.distributions.constraints import Constraint

from flowlab.constraints import is_lower_dimensional, is_unbounded
from flowlab.testing.charts import chart, stretches
from flowlab.testing.property import all_of_rows
from flowlab.testing.subject import LARGEST, Sample, Subject, forward

DISTANCES = (4.0, 10.0, 30.0, 100.0)
AXES = 4  # the most coordinates that are far out alone
SMALLEST_STRETCH = 1e-3  # a map that shrinks lengths by more loses x soon; the property `edges` checks where


def within(constraint: Constraint, points: Tensor) -> Tensor:
    """Which of points of shape (n, *event) satisfy a constraint, of shape (n,)."""
    return all_of_rows(constraint.check(points))


def far_points(subject: Subject) -> Sample | None:
    """Points far out, with one coordinate or all of them, as far as the map keeps them distinguishable.

    None where the domain is bounded on a side, or where the map keeps no such points distinguishable.
    """
    domain, codomain = subject.bijector.domain, subject.bijector.codomain
    if not is_unbounded(domain) or is_lower_dimensional(domain) or chart(codomain) is None:
        return None
    one, mixed = torch.eye(subject.dim)[:AXES], (-1.0) ** torch.arange(subject.dim)[None]
    directions = torch.cat([one, -one, mixed, -mixed, mixed.abs(), -mixed.abs()])
    x = torch.cat([size * directions for size in DISTANCES]).to(subject.dtype)
    sample = Sample(subject.moved(1), x, subject.context(len(x)))
    kept = all_of_rows(forward(sample)[0].isfinite()) & (stretches(sample)[0] > SMALLEST_STRETCH)
    return rows(sample, kept) if kept.any() else None


def codomain_points(subject: Subject) -> tuple[Sample, Tensor] | None:
    """Points of the declared codomain with their pre-images; None where torch knows no map to the codomain."""
    bijector, codomain, count = subject.moved(1), subject.bijector.codomain, 64
    try:
        onto = transform_to(codomain)
    except NotImplementedError:
        return None
    shape = onto.inverse_shape(bijector.forward_shape(subject.many(count).x.shape))
    numbers = LARGEST * (2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1)
    y = onto(numbers.to(subject.dtype))
    sample = Sample(bijector, bijector.inverse(y, subject.context(count)).detach(), subject.context(count))
    kept = all_of_rows(sample.x.isfinite()) & within(bijector.domain, sample.x) & within(codomain, y)
    return rows(sample, kept), y[kept]


def rows(sample: Sample, kept: Tensor) -> Sample:
    """The points of a sample that a mask of shape (n,) selects."""
    return sample._replace(x=sample.x[kept], context=None if sample.context is None else sample.context[kept])
