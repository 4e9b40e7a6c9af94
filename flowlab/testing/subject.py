"""The subject of a check: a bijector in one dtype, with points and parameters that Hypothesis draws."""

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

LARGEST = 2.5  # points lie on both sides of 0, where no map saturates yet
JITTER = 0.2  # the largest relative change of a parameter


class Sample(NamedTuple):
    """A bijector with points.

    Attributes:
        bijector: a copy with changed parameters.
        x: points of its domain, of shape (n, *event).
        context: of shape (n, context_dim), or None.
    """

    bijector: Bijector
    x: Tensor
    context: Tensor | None


@dataclass(frozen=True)
class Subject:
    """A bijector in one dtype, and its documented facts.

    Attributes:
        bijector: the bijector; every draw uses a copy.
        dtype: float32 or float64.
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

    def sum_event(self, log_det: Tensor) -> Tensor:
        """Sum the log dets of points of shape (n, *event) over the event where they are elementwise."""
        return sum_rightmost(log_det, log_det.ndim - 1)


def forward(sample: Sample) -> tuple[Tensor, Tensor]:
    """The images of a sample and their log dets."""
    return sample.bijector.forward_and_log_det(sample.x, sample.context)


def inverse(sample: Sample, y: Tensor) -> tuple[Tensor, Tensor]:
    """The pre-images of a copy of given points under the bijector of a sample, and their log dets."""
    return sample.bijector.inverse_and_log_det(y.clone(), sample.context)
