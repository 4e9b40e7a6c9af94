"""What is checked: a bijector in one dtype, with the points and the parameters that Hypothesis draws for it."""

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
from torch.distributions import transform_to

from flowlab.bijectors.base import Bijector, sum_rightmost

LARGEST = 2.5  # of the numbers that points are made of: on both sides of 0, and where no map saturates yet
JITTER = 0.2  # by how much of itself a parameter is moved


class Sample(NamedTuple):
    """What a property is tried on.

    Attributes:
        bijector: with its parameters moved.
        x: points of its domain, of shape (n, *event).
        context: of shape (n, context_dim), or None.
    """

    bijector: Bijector
    x: Tensor
    context: Tensor | None


@dataclass(frozen=True)
class Subject:
    """A bijector in one dtype, and what is known of it.

    Attributes:
        bijector: it; every draw is of a copy.
        dtype: float32 or float64.
        dim: of the vectors that it takes, or that its points are made of where its domain is of another shape.
        context_dim: of the context that it takes, or None.
        start: what it does to points before its first step, or None where that is not said.
        invalid: calls that must be refused, by the argument that is the culprit, as the refusal says it: "scale=0.0".
    """

    bijector: Bijector
    dtype: torch.dtype
    dim: int = 3
    context_dim: int | None = None
    start: Callable[[Tensor], Tensor] | None = None
    invalid: Mapping[str, Callable[[], object]] = field(default_factory=dict)

    def fresh(self) -> Bijector:
        """A copy of the bijector as it was given, in the dtype."""
        return copy.deepcopy(self.bijector).to(self.dtype)

    def moved(self, seed: int) -> Bijector:
        """A copy whose parameters are each moved by up to a fifth of themselves, and those at 0 by up to a fifth."""
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
        """A context for so many points, or None if it takes none."""
        if self.context_dim is None:
            return None
        return torch.randn(rows, self.context_dim, dtype=self.dtype, generator=torch.Generator().manual_seed(rows))

    def samples(self, rows: int = 3) -> st.SearchStrategy[Sample]:
        """Draws of up to so many points, and of parameters; the simplest is a point of zeros."""

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

    def of_event(self, log_det: Tensor) -> Tensor:
        """Log dets of points of shape (n, *event), summed where they are elementwise."""
        return sum_rightmost(log_det, log_det.ndim - 1)


def forward(sample: Sample) -> tuple[Tensor, Tensor]:
    """The images of a sample and their log dets."""
    return sample.bijector.forward_and_log_det(sample.x, sample.context)


def inverse(sample: Sample, y: Tensor) -> tuple[Tensor, Tensor]:
    """The pre-images of given points under the bijector of a sample, and their log dets; y is another tensor then."""
    return sample.bijector.inverse_and_log_det(y.clone(), sample.context)
