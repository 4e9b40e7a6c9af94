"""The scale matrix of an affine map, diagonal or lower triangular: what it does to rows, and its log determinant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from flowlab.bijectors.triangular import fill_triangular

# Above this size it costs more to unpack a triangle than to take it apart; the two differ in rounding alone.
LARGEST_UNPACKED = 256


class Scale(Protocol):
    """A matrix M of shape (d, d), acting on points that stand in rows."""

    def multiply(self, rows: Tensor) -> Tensor:
        """M applied to each row: of shape (*, d)."""

    def solve(self, rows: Tensor) -> Tensor:
        """M^-1 applied to each row: of shape (n, d)."""

    def log_det(self) -> Tensor:
        """log |det M| in nats, of shape ()."""


@dataclass(frozen=True)
class DiagonalScale:
    """M from its diagonal, of shape (d,)."""

    diagonal: Tensor

    def multiply(self, rows: Tensor) -> Tensor:
        return rows * self.diagonal

    def solve(self, rows: Tensor) -> Tensor:
        return rows / self.diagonal

    def log_det(self) -> Tensor:
        return _log_det(self.diagonal)


@dataclass(frozen=True)
class TriangularScale:
    """M as a lower triangle of shape (d, d)."""

    triangle: Tensor

    def multiply(self, rows: Tensor) -> Tensor:
        return rows @ self.triangle.mT

    def solve(self, rows: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.triangle.mT, rows, upper=True, left=False)

    def log_det(self) -> Tensor:
        return _log_det(self.triangle.diagonal())


class PackedScale:
    """M as d (d + 1) / 2 packed numbers, read where they lie.

    With h = d // 2 and M = [[A, 0], [B, C]], A of shape (h, h): in the order of `fill_triangular` the packed numbers
    hold the rows of A from the d-th number on, and before that the rows of [B, C] backwards, the last row first and
    each from its end. So A, and B and C turned by half a circle, are views, and no (d, d) matrix is written: at
    d = 4096 to write it takes longer than to solve with it. What lies above the diagonals of the views is other
    numbers, which a triangular solve does not read.
    """

    def __init__(self, packed: Tensor, dim: int) -> None:
        self.half = dim // 2
        rest = dim - self.half
        turned = packed[: rest * dim].view(rest, dim)
        self.upper = packed[dim:].unfold(0, self.half, dim)  # A
        self.turned_corner, self.turned_lower = turned[:, rest:], turned[:, :rest]  # B and C, turned

    def multiply(self, rows: Tensor) -> Tensor:
        first, turned_second = self._halves(rows)
        turned = first.flip(-1) @ self.turned_corner.mT + turned_second @ self.turned_lower.triu().mT
        return torch.cat([first @ self.upper.tril().mT, turned.flip(-1)], -1)

    def solve(self, rows: Tensor) -> Tensor:
        first, turned_second = self._halves(rows)
        solved = _solve_in_place(self.upper, first, lower=True)
        rest = turned_second - solved.flip(-1) @ self.turned_corner.mT
        turned = _solve_in_place(self.turned_lower, rest, lower=False)
        return torch.cat([solved, turned.flip(-1)], -1)

    def log_det(self) -> Tensor:
        return _log_det(self.upper.diagonal()) + _log_det(self.turned_lower.diagonal())

    def _halves(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The first h numbers of each row, and the others backwards."""
        return rows[..., : self.half], rows[..., self.half :].flip(-1)


def triangular_scale(packed: Tensor, dim: int) -> Scale:
    """The lower triangle that d (d + 1) / 2 packed numbers hold in the order of `fill_triangular`.

    Example:
        >>> import torch
        >>> from flowlab.bijectors.scales import triangular_scale
        >>> triangular_scale(torch.arange(1.0, 7.0), 3).multiply(torch.ones(1, 3))  # of (4, 0, 0), (6, 5, 0), (3, 2, 1)
        tensor([[ 4., 11.,  6.]])
    """
    return TriangularScale(fill_triangular(packed, dim)) if dim <= LARGEST_UNPACKED else PackedScale(packed, dim)


def _solve_in_place(triangle: Tensor, rows: Tensor, lower: bool) -> Tensor:
    """rows T^-T, T the lower or upper triangle of a view; by halves, since torch copies a view before it solves."""
    half = len(triangle) // 2
    if half < LARGEST_UNPACKED:
        return torch.linalg.solve_triangular(triangle.mT, rows, upper=lower, left=False)
    first, second = slice(None, half), slice(half, None)
    begin, end = (first, second) if lower else (second, first)
    solved = _solve_in_place(triangle[begin, begin], rows[:, begin], lower)
    rest = _solve_in_place(triangle[end, end], rows[:, end] - solved @ triangle[end, begin].mT, lower)
    return torch.cat([solved, rest] if lower else [rest, solved], -1)


def _log_det(diagonal: Tensor) -> Tensor:
    return diagonal.abs().log().sum()
