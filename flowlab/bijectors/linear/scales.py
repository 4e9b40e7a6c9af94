"""The scale matrix of an affine map, diagonal or lower triangular: products, solves and log determinant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from flowlab.autocast import product
from flowlab.bijectors.linear.packed import Product, Solution, diagonal_places
from flowlab.bijectors.linear.triangular import fill_triangular

# Above this size unpacking a triangle costs more than computing with its parts; the two differ in rounding alone.
LARGEST_UNPACKED = 256


class Scale(Protocol):
    """A matrix M of shape (d, d) that acts on points in rows."""

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
        return product(rows, self.triangle.mT)

    def solve(self, rows: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.triangle.mT, rows, upper=True, left=False)

    def log_det(self) -> Tensor:
        return _log_det(self.triangle.diagonal())


@dataclass(frozen=True)
class PackedScale:
    """M as d (d + 1) / 2 packed numbers, which are not unpacked."""

    packed: Tensor
    dim: int

    def multiply(self, rows: Tensor) -> Tensor:
        points = rows.reshape(-1, self.dim)
        return product(points, self.packed, lambda rows, packed: Product.apply(packed, rows, False)).reshape(rows.shape)

    def solve(self, rows: Tensor) -> Tensor:
        solution: Tensor = Solution.apply(self.packed, rows, False)
        return solution

    def log_det(self) -> Tensor:
        return _log_det(self.packed[diagonal_places(self.dim, self.packed.device)])


def triangular_scale(packed: Tensor, dim: int) -> Scale:
    """The lower triangle that d (d + 1) / 2 packed numbers hold in the order of `fill_triangular`.

    Example:
        >>> import torch
        >>> from flowlab.bijectors.linear.scales import triangular_scale
        >>> triangular_scale(torch.arange(1.0, 7.0), 3).multiply(torch.ones(1, 3))  # of (4, 0, 0), (6, 5, 0), (3, 2, 1)
        tensor([[ 4., 11.,  6.]])
    """
    return TriangularScale(fill_triangular(packed, dim)) if dim <= LARGEST_UNPACKED else PackedScale(packed, dim)


def _log_det(diagonal: Tensor) -> Tensor:
    return diagonal.abs().log().sum()
