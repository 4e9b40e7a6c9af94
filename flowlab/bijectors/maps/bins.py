"""Numbers for each bin or knot of a spline: as the first dimension of a tensor, or as a tensor for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from flowlab.torch_distributions import is_compiled

LARGEST_UNROLLED = 16  # bins; the operations of a graph grow with their number


class Bins(ABC):
    """A number for each bin, or for each knot, of every point."""

    first: Tensor
    last: Tensor

    @abstractmethod
    def map(self, function: Callable[..., Tensor], *others: Any) -> Bins:
        """Apply a function to each number, together with the numbers of other bins."""

    @abstractmethod
    def softmax(self) -> Bins:
        """exp of each number, over the sum of all."""

    @abstractmethod
    def shares(self) -> Bins:
        """Each number over the sum of all."""

    @abstractmethod
    def cumulative(self) -> Bins:
        """The sums of the first number, the first two, and so on; without the sum of all."""

    @abstractmethod
    def differences(self) -> Bins:
        """Each number but the first, less the one before."""

    @abstractmethod
    def between(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> Bins:
        """More numbers before the first and after the last."""

    @abstractmethod
    def around(self, points: Tensor, values: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
        """Values at both ends of the bin that holds each point; these numbers are the knots."""


def split_bins(parameters: Tensor, sizes: Sequence[int]) -> Sequence[Bins]:
    """The parts of the last dimension, of the given sizes.

    A compiler makes one loop over points of many operations on bins, if each bin is a tensor. Else one operation on all
    bins is cheaper. Their dimension is then the first in memory: sums over a short last dimension are slow.
    """
    if is_compiled() and max(sizes) <= LARGEST_UNROLLED:
        numbers = iter(parameters.unbind(-1))
        return [Unrolled(tuple(next(numbers) for _ in range(size))) for size in sizes]
    return [Stacked(part) for part in parameters.movedim(-1, 0).contiguous().split(tuple(sizes))]


@dataclass(frozen=True)
class Stacked(Bins):
    """Numbers of shape (n, *)."""

    numbers: Tensor

    @property
    def first(self) -> Tensor:  # type: ignore[override]
        return self.numbers[0]

    @property
    def last(self) -> Tensor:  # type: ignore[override]
        return self.numbers[-1]

    def map(self, function: Callable[..., Tensor], *others: Stacked) -> Stacked:
        return Stacked(function(self.numbers, *(other.numbers for other in others)))

    def softmax(self) -> Stacked:
        return Stacked(self.numbers.softmax(0))

    def shares(self) -> Stacked:
        return Stacked(self.numbers / self.numbers.sum(0))

    def cumulative(self) -> Stacked:
        return Stacked(self.numbers.cumsum(0)[:-1])

    def differences(self) -> Stacked:
        return Stacked(self.numbers.diff(dim=0))

    def between(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> Stacked:
        ends = ([each[None] for each in side] for side in (before, after))
        return Stacked(torch.cat([*next(ends), self.numbers, *next(ends)]))

    def around(self, points: Tensor, values: Sequence[Stacked]) -> list[tuple[Tensor, Tensor]]:
        right = points >= _rows_for(points, self.numbers[1:-1])
        left_end = torch.cat([torch.ones_like(right[:1]), right])
        right_end = torch.cat([right, torch.zeros_like(right[:1])])
        here = (left_end & ~right_end).to(points.dtype)
        rows = [_rows_for(points, value.numbers) for value in values]
        return [((here * row[:-1]).sum(0), (here * row[1:]).sum(0)) for row in rows]


def _rows_for(points: Tensor, numbers: Tensor) -> Tensor:
    """Numbers of shape (n, *), whose rows broadcast against points with more dimensions."""
    missing = points.ndim + 1 - numbers.ndim
    return numbers[(slice(None), *(None,) * missing)] if missing > 0 else numbers


@dataclass(frozen=True)
class Unrolled(Bins):
    """n numbers of shape (*)."""

    numbers: tuple[Tensor, ...]

    @property
    def first(self) -> Tensor:  # type: ignore[override]
        return self.numbers[0]

    @property
    def last(self) -> Tensor:  # type: ignore[override]
        return self.numbers[-1]

    def map(self, function: Callable[..., Tensor], *others: Unrolled) -> Unrolled:
        return Unrolled(tuple(map(function, self.numbers, *(other.numbers for other in others))))

    def softmax(self) -> Unrolled:
        largest = reduce(torch.maximum, self.numbers).detach()  # a factor of all that cancels
        return self.map(lambda number: (number - largest).exp()).shares()

    def shares(self) -> Unrolled:
        factor = reduce(torch.add, self.numbers).reciprocal()
        return self.map(lambda number: number * factor)

    def cumulative(self) -> Unrolled:
        sums = [self.numbers[0]]
        for number in self.numbers[1:-1]:
            sums.append(sums[-1] + number)
        return Unrolled(tuple(sums))

    def differences(self) -> Unrolled:
        return Unrolled(tuple(map(torch.sub, self.numbers[1:], self.numbers)))

    def between(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> Unrolled:
        return Unrolled((*before, *self.numbers, *after))

    def around(self, points: Tensor, values: Sequence[Unrolled]) -> list[tuple[Tensor, Tensor]]:
        found = [value.numbers[:2] for value in values]
        for place, knot in enumerate(self.numbers[1:-1], 1):
            right, rows = points >= knot, [value.numbers[place : place + 2] for value in values]
            found = [
                tuple(torch.where(right, *both) for both in zip(row, here, strict=True))
                for row, here in zip(rows, found, strict=True)
            ]
        return found  # type: ignore[return-value]
