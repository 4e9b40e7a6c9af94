"""Products and solves with a packed lower triangle, without unpacking it, and their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flowlab.autocast import full_precision, is_autocast_on

LARGEST_COPIED = 256  # larger triangles are split into halves: torch copies a view before it solves


@dataclass(frozen=True)
class PackedScale:
    """A lower triangle M as d (d + 1) / 2 packed numbers, in the order of `fill_triangular`, which are not unpacked."""

    packed: Tensor
    dim: int

    def multiply(self, rows: Tensor) -> Tensor:
        packed, points = self.packed, rows.reshape(-1, self.dim)
        lowered = is_autocast_on(rows) and rows.dtype != torch.float64
        with full_precision(rows):
            if lowered:
                half = torch.get_autocast_dtype(rows.device.type)
                packed, points = packed.to(half), points.to(half)
            return Product.apply(packed, points, False).to(rows.dtype).reshape(rows.shape)

    def solve(self, rows: Tensor) -> Tensor:
        solution: Tensor = Solution.apply(self.packed, rows, False)
        return solution

    def log_det(self) -> Tensor:
        count, step = len(self.packed), self.dim + 1
        last, first = (torch.arange(start, count, step, device=self.packed.device) for start in (0, self.dim))
        return self.packed[torch.cat([last, first])].abs().log().sum()


class Blocks:
    """M = [[A, 0], [B, C]], a (d, d) matrix with A of shape (d // 2, d // 2), as views of packed numbers.

    There are d (d + 1) / 2 packed numbers, in the order of `fill_triangular`. From the d-th number on they hold the
    rows of A. Before that are the rows of [B, C] backwards, the last row first and each from its end. So A is a view,
    and so are B and C rotated by 180 degrees. No (d, d) matrix is written: at d = 4096 writing it takes longer than
    solving with it. Above their diagonals the views hold other numbers, which neither a product nor a solve reads.
    """

    def __init__(self, packed: Tensor, dim: int) -> None:
        self.half = dim // 2
        rest = dim - self.half
        turned = packed[: rest * dim].view(rest, dim)
        self.upper = packed[dim:].unfold(0, self.half, dim)  # A
        self.turned_corner, self.turned_lower = turned[:, rest:], turned[:, :rest]  # B and C, turned

    def multiply(self, rows: Tensor, transposed: bool) -> Tensor:
        """M, or M^T, applied to each row."""
        first, turned_second = self._halves(rows)
        if transposed:
            top = _multiply(self.upper.mT, first, lower=False) + (turned_second @ self.turned_corner).flip(-1)
            turned = _multiply(self.turned_lower.mT, turned_second, lower=True)
        else:
            top = _multiply(self.upper, first, lower=True)
            turned = _multiply(self.turned_lower, turned_second, lower=False) + first.flip(-1) @ self.turned_corner.mT
        return torch.cat([top, turned.flip(-1)], -1)

    def solve(self, rows: Tensor, transposed: bool) -> Tensor:
        """M^-1, or M^-T, applied to each row."""
        first, turned_second = self._halves(rows)
        if transposed:
            turned = _solve(self.turned_lower.mT, turned_second, lower=True)
            top = _solve(self.upper.mT, first - (turned @ self.turned_corner).flip(-1), lower=False)
        else:
            top = _solve(self.upper, first, lower=True)
            turned = _solve(self.turned_lower, turned_second - top.flip(-1) @ self.turned_corner.mT, lower=False)
        return torch.cat([top, turned.flip(-1)], -1)

    def _halves(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The first h numbers of each row, and the others backwards."""
        return rows[:, : self.half], rows[:, self.half :].flip(-1)


class Product(torch.autograd.Function):
    """y = x M^T, x of shape (n, d), or y = x M if transposed; dx = dy M, and dM is the lower triangle of dy^T x.

    Autograd alone fills memory with zeros for every view that it differentiates, which takes longer than the
    arithmetic. There is no forward-mode derivative: torch.compile rejects a function that defines its own.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(packed: Tensor, rows: Tensor, transposed: bool) -> Tensor:
        return Blocks(packed, rows.shape[-1]).multiply(rows, transposed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        packed, rows, ctx.transposed = inputs
        ctx.save_for_backward(packed, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        packed, rows = ctx.saved_tensors
        wanted, rows_wanted, _ = ctx.needs_input_grad
        of_rows = Product.apply(packed, gradient, not ctx.transposed) if rows_wanted else None
        return _packed_product(gradient, rows, ctx.transposed) if wanted else None, of_rows, None


class Solution(torch.autograd.Function):
    """x = y M^-T, y of shape (n, d), or x = y M^-1 if transposed; dy = dx M^-1 and dM = -dy^T x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(packed: Tensor, rows: Tensor, transposed: bool) -> Tensor:
        return Blocks(packed, rows.shape[-1]).solve(rows, transposed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        packed, _, ctx.transposed = inputs
        ctx.save_for_backward(packed, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        packed, solved = ctx.saved_tensors
        of_rows = Solution.apply(packed, gradient, not ctx.transposed)
        wanted = ctx.needs_input_grad[0]
        return _packed_product(-of_rows, solved, ctx.transposed) if wanted else None, of_rows, None


def pack_triangular(matrix: Tensor) -> Tensor:
    """The packed numbers that `fill_triangular` turns into the lower triangle of `matrix`, of shape (*, d, d)."""
    dim = matrix.shape[-1]
    half = dim // 2
    return _join(matrix[..., dim - half - 1 :, :].flip(-2, -1), matrix[..., :half, :half])


def _join(turned: Tensor, first: Tensor) -> Tensor:
    """The packed numbers from the last h + 1 rows, rotated by 180 degrees, and the first h rows, h = d // 2.

    The packed numbers are in rows of length d. Row j holds row j - 1 of the triangle, and then the j-th last row
    backwards, from the diagonal on. For even d the last row ends half-way.

    Arguments:
        turned: of shape (*, h + 1, d); it is overwritten.
        first: the first h rows of the triangle without their zeros on the right, of shape (*, h, h).
    """
    half, dim = first.shape[-1], turned.shape[-1]
    before = torch.ones(half, half, dtype=torch.bool, device=first.device).tril()
    turned[..., 1:, :half] = torch.where(before, first, turned[..., 1:, :half])
    return turned.flatten(-2)[..., : dim * (dim + 1) // 2]


def _packed_product(left: Tensor, right: Tensor, transposed: bool) -> Tensor:
    """The packed lower triangle of left^T right, or of right^T left if transposed; both of shape (n, d)."""
    if transposed:
        left, right = right, left
    half = left.shape[-1] // 2
    return _join(left.flip(-1)[:, : half + 1].mT @ right.flip(-1), left[:, :half].mT @ right[:, :half])


def _multiply(triangle: Tensor, rows: Tensor, lower: bool) -> Tensor:
    """rows T^T, T the lower or upper triangle of a view."""
    half = len(triangle) // 2
    if half < LARGEST_COPIED:
        return rows @ (triangle.tril() if lower else triangle.triu()).mT
    first, second = slice(None, half), slice(half, None)
    begin, end = (first, second) if lower else (second, first)
    product = _multiply(triangle[begin, begin], rows[:, begin], lower)
    rest = _multiply(triangle[end, end], rows[:, end], lower) + rows[:, begin] @ triangle[end, begin].mT
    return torch.cat([product, rest] if lower else [rest, product], -1)


def _solve(triangle: Tensor, rows: Tensor, lower: bool) -> Tensor:
    """rows T^-T, T the lower or upper triangle of a view."""
    half = len(triangle) // 2
    if half < LARGEST_COPIED:
        return torch.linalg.solve_triangular(triangle.mT, rows, upper=lower, left=False)
    first, second = slice(None, half), slice(half, None)
    begin, end = (first, second) if lower else (second, first)
    solved = _solve(triangle[begin, begin], rows[:, begin], lower)
    rest = _solve(triangle[end, end], rows[:, end] - solved @ triangle[end, begin].mT, lower)
    return torch.cat([solved, rest] if lower else [rest, solved], -1)
