"""Jacobians by automatic differentiation, between the free coordinates of points on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.func import jacfwd, vmap

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.triangular import fill_triangular, pack_triangular
from flowlab.supports import is_thin, open_simplex


class Chart(NamedTuple):
    """The free coordinates of the events of a set, as a vector, and the event with given ones."""

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
    """The free coordinates of what satisfies a constraint; None where they are not known here."""
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    return CHARTS.get(type(constraint), None if is_thin(constraint) else IDENTITY)


def jacobian(bijector: Bijector, x: Tensor, context: Tensor | None = None) -> Tensor:
    """d f / d x in free coordinates at points of shape (n, *event), of shape (n, d, d)."""
    inside, outside = chart(bijector.domain), chart(bijector.codomain)
    assert inside is not None
    assert outside is not None

    def image(free: Tensor, context: Tensor | None) -> Tensor:
        return outside.free(bijector.forward(inside.event(free), context))

    return vmap(jacfwd(image), in_dims=(0, None if context is None else 0))(inside.free(x), context)
