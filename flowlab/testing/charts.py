"""Jacobians by automatic differentiation, between the free coordinates of points on both sides."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.func import jacfwd, vmap

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.linear.triangular import fill_triangular, pack_triangular
from flowlab.constraints import is_lower_dimensional, open_simplex
from flowlab.testing.subject import Sample


class Chart(NamedTuple):
    """Two maps: an event of a set to the vector of its free coordinates, and back."""

    free: Callable[[Tensor], Tensor]
    event: Callable[[Tensor], Tensor]


def _side(length: int) -> int:
    return int((2 * length) ** 0.5)


SIMPLEX = Chart(lambda y: y[..., :-1], lambda free: torch.cat([free, 1 - free.sum(-1, keepdim=True)], -1))
TRIANGLE = Chart(pack_triangular, lambda free: fill_triangular(free, _side(free.shape[-1])))
CHARTS = {
    type(constraints.simplex): SIMPLEX,
    open_simplex: SIMPLEX,
    type(constraints.lower_triangular): TRIANGLE,
}
IDENTITY = Chart(lambda y: y, lambda free: free)


def chart(constraint: Constraint) -> Chart | None:
    """The chart of the events that satisfy a constraint; None where it is unknown here."""
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    return CHARTS.get(type(constraint), None if is_lower_dimensional(constraint) else IDENTITY)


def jacobian(bijector: Bijector, x: Tensor, context: Tensor | None = None) -> Tensor:
    """d f / d x in free coordinates at points of shape (n, *event), of shape (n, d, d)."""
    inside, outside = chart(bijector.domain), chart(bijector.codomain)
    assert inside is not None
    assert outside is not None

    def image(free: Tensor, context: Tensor | None) -> Tensor:
        return outside.free(bijector.forward(inside.event(free), context))

    return vmap(jacfwd(image), in_dims=(0, None if context is None else 0))(inside.free(x), context)


def doubled(sample: Sample) -> Sample:
    """The same sample in float64."""
    context = None if sample.context is None else sample.context.double()
    return Sample(copy.deepcopy(sample.bijector).double(), sample.x.double(), context)


def stretches(sample: Sample) -> tuple[Tensor, Tensor]:
    """The smallest and the largest factor by which lengths change at each point, both of shape (n,)."""
    exact = doubled(sample)
    matrices = jacobian(exact.bijector, exact.x, exact.context)
    known = matrices.isfinite().flatten(1).all(1)
    values = torch.linalg.svdvals(torch.where(known[:, None, None], matrices, 0.0))
    return values[:, -1], torch.where(known, values[:, 0], torch.inf)
