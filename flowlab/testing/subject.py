"""The subject of a check: a bijector in one dtype, its Jacobians, and points: drawn by Hypothesis, many, or far out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.distributions import constraints, transform_to
from torch.distributions.constraints import Constraint
from torch.func import jacfwd, vmap

from flowlab.bijectors import fill_triangular, pack_triangular
from flowlab.bijectors.base import Bijector, sum_rightmost
from flowlab.torch_distributions import innermost, is_lower_dimensional, is_unbounded, open_simplex

# The allowed difference of two computations of one value, relative to 1 + |value|.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
LARGEST = 2.5  # points lie on both sides of 0, where no map saturates yet
JITTER = 0.2  # the largest relative change of a parameter
DISTANCES = (4.0, 10.0, 30.0, 100.0)
AXES = 4  # the most coordinates that are far out alone
SMALLEST_STRETCH = 1e-3  # a map that shrinks lengths by more loses x soon; the property `edges` checks where


class Sample(NamedTuple):
    """A bijector with changed parameters, n points of its domain, and a context of shape (n, context_dim) or None."""

    bijector: Bijector
    x: Tensor
    context: Tensor | None

    def rows(self, kept: Tensor) -> Sample:
        """The points that a mask of shape (n,) selects."""
        return self._replace(x=self.x[kept], context=None if self.context is None else self.context[kept])

    def double(self) -> Sample:
        """The same in float64."""
        context = None if self.context is None else self.context.double()
        return Sample(copy.deepcopy(self.bijector).double(), self.x.double(), context)


def forward(sample: Sample) -> tuple[Tensor, Tensor]:
    """The images of a sample and their log dets."""
    return sample.bijector.forward_and_log_det(sample.x, sample.context)


def inverse(sample: Sample, y: Tensor) -> tuple[Tensor, Tensor]:
    """The pre-images of a copy of given points under the bijector of a sample, and their log dets."""
    return sample.bijector.inverse_and_log_det(y.clone(), sample.context)


@dataclass(frozen=True)
class Subject:
    """A bijector in one dtype, of which every draw uses a copy, and its documented facts.

    Attributes:
        dim: the length of its vectors, or of the vectors from which points of its domain are made.
        context_dim: the length of its context, or None.
        initial: its documented map before training, or None.
        invalid: calls that must raise an error, by words of the message: "scale=0.0".
    """

    bijector: Bijector
    dtype: torch.dtype
    dim: int = 3
    context_dim: int | None = None
    initial: Callable[[Tensor], Tensor] | None = None
    invalid: Mapping[str, Callable[[], object]] = field(default_factory=dict)

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.dtype]

    @property
    def has_plain_domain(self) -> bool:
        """Whether every vector of numbers is a point of the domain."""
        return is_unbounded(self.bijector.domain) and not is_lower_dimensional(self.bijector.domain)

    def fresh(self) -> Bijector:
        """An unchanged copy of the bijector in the dtype."""
        return copy.deepcopy(self.bijector).to(self.dtype)

    def moved(self, seed: int) -> Bijector:
        """A copy whose parameters are changed by up to a fifth of their size, or up to 0.2 where they are 0."""
        bijector, generator = self.fresh(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in bijector.parameters():
                size = torch.where(parameter == 0, 1.0, parameter)
                move = JITTER * (2 * torch.rand(parameter.shape, generator=generator, dtype=self.dtype) - 1)
                parameter.add_(move * size)
        return bijector

    def points(self, numbers: np.ndarray | Tensor) -> Tensor:
        """Points of the domain from numbers of shape (n, dim)."""
        return transform_to(self.bijector.domain)(torch.as_tensor(numbers).to(self.dtype))

    def context(self, rows: int) -> Tensor | None:
        """A context for so many points, or None if the bijector takes none."""
        if self.context_dim is None:
            return None
        return torch.randn(rows, self.context_dim, dtype=self.dtype, generator=torch.Generator().manual_seed(rows))

    def samples(self, rows: int = 3) -> st.SearchStrategy[Sample]:
        """Draws of up to so many points, and of parameters; the simplest is one point of zeros."""

        @st.composite
        def sample(draw: st.DrawFn) -> Sample:
            count = draw(st.integers(1, rows))
            numbers = draw(arrays(np.float64, (count, self.dim), elements=st.floats(-LARGEST, LARGEST, width=32)))
            return Sample(self.moved(draw(st.integers(0, 2**16))), self.points(numbers), self.context(count))

        return sample()

    def many(self, count: int = 64) -> Sample:
        """One fixed draw of many points, on both sides of 0 in every coordinate."""
        numbers = torch.randn(count, self.dim, generator=torch.Generator().manual_seed(count)).clamp(-2, 2)
        numbers[0], numbers[1] = -numbers[1].abs(), numbers[1].abs()
        return Sample(self.moved(1), self.points(numbers), self.context(count))

    def far_points(self) -> Sample | None:
        """Points far out, with one coordinate or all of them, as far as the map keeps them distinguishable.

        None where the domain is bounded on a side, or where the map keeps no such points distinguishable.
        """
        if not self.has_plain_domain or chart(self.bijector.codomain) is None:
            return None
        one, mixed = torch.eye(self.dim)[:AXES], (-1.0) ** torch.arange(self.dim)[None]
        directions = torch.cat([one, -one, mixed, -mixed, mixed.abs(), -mixed.abs()])
        x = torch.cat([size * directions for size in DISTANCES]).to(self.dtype)
        sample = Sample(self.moved(1), x, self.context(len(x)))
        kept = all_of_rows(forward(sample)[0].isfinite()) & (stretches(sample)[0] > SMALLEST_STRETCH)
        return sample.rows(kept) if kept.any() else None

    def codomain_points(self) -> tuple[Sample, Tensor] | None:
        """Points of the declared codomain with their pre-images; None where torch knows no map to the codomain."""
        bijector, codomain, count = self.moved(1), self.bijector.codomain, 64
        try:
            onto = transform_to(codomain)
        except NotImplementedError:
            return None
        shape = onto.inverse_shape(bijector.forward_shape(self.many(count).x.shape))
        numbers = LARGEST * (2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1)
        y = onto(numbers.to(self.dtype))
        sample = Sample(bijector, bijector.inverse(y, self.context(count)).detach(), self.context(count))
        kept = all_of_rows(sample.x.isfinite()) & within(bijector.domain, sample.x) & within(codomain, y)
        return sample.rows(kept), y[kept]

    def sum_event(self, log_det: Tensor) -> Tensor:
        """Sum the log dets of points of shape (n, *event) over the event where they are elementwise."""
        return sum_rightmost(log_det, log_det.ndim - 1)


def all_of_rows(mask: Tensor) -> Tensor:
    """Which rows of a mask of shape (n, ...) are all true, of shape (n,)."""
    return mask.flatten(1).all(-1) if mask.ndim > 1 else mask


def within(constraint: Constraint, points: Tensor) -> Tensor:
    """Which of points of shape (n, *event) satisfy a constraint, of shape (n,)."""
    return all_of_rows(constraint.check(points))


class Chart(NamedTuple):
    """Two maps: an event of a set to the vector of its free coordinates, and back."""

    free: Callable[[Tensor], Tensor]
    event: Callable[[Tensor], Tensor]


IDENTITY = Chart(lambda y: y, lambda free: free)
SIMPLEX = Chart(lambda y: y[..., :-1], lambda free: torch.cat([free, 1 - free.sum(-1, keepdim=True)], -1))
CHARTS = {
    type(constraints.simplex): SIMPLEX,
    open_simplex: SIMPLEX,
    type(constraints.lower_triangular): Chart(
        pack_triangular, lambda free: fill_triangular(free, int((2 * free.shape[-1]) ** 0.5))
    ),
}


def chart(constraint: Constraint) -> Chart | None:
    """The chart of the events that satisfy a constraint; None where it is unknown here."""
    return CHARTS.get(type(innermost(constraint)), None if is_lower_dimensional(constraint) else IDENTITY)


def jacobian(bijector: Bijector, x: Tensor, context: Tensor | None = None) -> Tensor:
    """d f / d x in free coordinates at points of shape (n, *event), of shape (n, d, d)."""
    inside, outside = chart(bijector.domain), chart(bijector.codomain)
    assert inside is not None
    assert outside is not None

    def image(free: Tensor, context: Tensor | None) -> Tensor:
        return outside.free(bijector.forward(inside.event(free), context))

    return vmap(jacfwd(image), in_dims=(0, None if context is None else 0))(inside.free(x), context)


def stretches(sample: Sample) -> tuple[Tensor, Tensor]:
    """The smallest and the largest factor by which lengths change at each point, both of shape (n,)."""
    exact = sample.double()
    matrices = jacobian(exact.bijector, exact.x, exact.context)
    known = matrices.isfinite().flatten(1).all(1)
    values = torch.linalg.svdvals(torch.where(known[:, None, None], matrices, 0.0))
    return values[:, -1], torch.where(known, values[:, 0], torch.inf)
