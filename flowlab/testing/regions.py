"""Points that are not drawn: far out, where a map may go on in another way, and those that images are said to be."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import transform_to
from torch.distributions.constraints import Constraint

from flowlab.constraints import is_lower_dimensional, is_unbounded
from flowlab.testing.charts import chart, stretches
from flowlab.testing.property import of_rows
from flowlab.testing.subject import LARGEST, Sample, Subject, forward

FAR = (4.0, 10.0, 30.0, 100.0)
ALONE = 4  # coordinates, of however many there are
LEAST = 1e-3  # a map that shrinks lengths by more is about to lose x; where it may, its edges tell


def within(constraint: Constraint, points: Tensor) -> Tensor:
    """Which of points of shape (n, *event) satisfy a constraint, of shape (n,)."""
    return of_rows(constraint.check(points))


def far(subject: Subject) -> Sample | None:
    """Points far out in every direction, alone and together, as far as the map tells them apart.

    None where the domain has an end, since nothing is far then, or where the map tells no such points apart.
    """
    domain, codomain = subject.bijector.domain, subject.bijector.codomain
    if not is_unbounded(domain) or is_lower_dimensional(domain) or chart(codomain) is None:
        return None
    one, mixed = torch.eye(subject.dim)[:ALONE], (-1.0) ** torch.arange(subject.dim)[None]
    directions = torch.cat([one, -one, mixed, -mixed, mixed.abs(), -mixed.abs()])
    x = torch.cat([size * directions for size in FAR]).to(subject.dtype)
    sample = Sample(subject.moved(1), x, subject.context(len(x)))
    kept = of_rows(forward(sample)[0].isfinite()) & (stretches(sample)[0] > LEAST)
    return rows(sample, kept) if kept.any() else None


def of_codomain(subject: Subject) -> tuple[Sample, Tensor] | None:
    """What is sent to points of the declared codomain, and those points; None where none of it are known here."""
    bijector, codomain, count = subject.moved(1), subject.bijector.codomain, 64
    try:
        onto = transform_to(codomain)
    except NotImplementedError:
        return None
    shape = onto.inverse_shape(bijector.forward_shape(subject.many(count).x.shape))
    numbers = LARGEST * (2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1)
    y = onto(numbers.to(subject.dtype))
    sample = Sample(bijector, bijector.inverse(y, subject.context(count)).detach(), subject.context(count))
    kept = of_rows(sample.x.isfinite()) & within(bijector.domain, sample.x) & within(codomain, y)
    return rows(sample, kept), y[kept]


def rows(sample: Sample, kept: Tensor) -> Sample:
    """Some of the points of a sample, by a verdict of shape (n,)."""
    return sample._replace(x=sample.x[kept], context=None if sample.context is None else sample.context[kept])
