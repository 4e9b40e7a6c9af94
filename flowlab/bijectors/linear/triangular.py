"""Vectors as lower triangular matrices, packed in TensorFlow Probability's order."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector


class FillTriangular(Bijector):
    r"""y = the lower triangular matrix of shape (*, d, d) that holds the d (d + 1) / 2 numbers of x.

    forward  y = fill_triangular(x)    log det  0
    inverse  x = pack_triangular(y)    log det  0

    The numbers are packed in TensorFlow Probability's order: x without its first d numbers, followed by x reversed,
    fills the square row by row, and the entries above the diagonal are set to 0. For d = 3, (1, 2, 3, 4, 5, 6) becomes
    the rows (4, 0, 0), (6, 5, 0), (3, 2, 1). The log det is taken between x and the entries of the lower triangle, the
    same numbers in a different order. The inverse reads the lower triangle alone.

    Raises:
        ValueError: the length of x is not d (d + 1) / 2 for a whole d, or y is not square.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import FillTriangular
        >>> y, log_det = FillTriangular().forward_and_log_det(torch.arange(1.0, 7.0))
        >>> y, log_det
        (tensor([[4., 0., 0.],
                [6., 5., 0.],
                [3., 2., 1.]]), tensor(0.))
    """

    event_dim, image_event_dim = 1, 2
    domain, codomain = constraints.real_vector, constraints.lower_triangular
    constant_log_det = True
    affine = True

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        dim = _side(shape[-1])
        return torch.Size((*shape[:-1], dim, dim))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        if len(shape) < 2 or shape[-2] != shape[-1]:
            raise ValueError(f"FillTriangular: its images are square matrices of shape (*, d, d), got {tuple(shape)}")
        return torch.Size((*shape[:-2], shape[-1] * (shape[-1] + 1) // 2))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return fill_triangular(x, _side(x.shape[-1])), x.new_zeros(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shape = self.inverse_shape(y.shape)
        return pack_triangular(y), y.new_zeros(shape[:-1])


def _side(length: int) -> int:
    """d from d (d + 1) / 2."""
    dim = (math.isqrt(8 * length + 1) - 1) // 2
    if dim < 1 or dim * (dim + 1) // 2 != length:
        near = [f"{d * (d + 1) // 2} (d = {d})" for d in (dim, dim + 1) if d > 0]
        raise ValueError(
            f"FillTriangular: {length} numbers fill no triangle; d (d + 1) / 2 do, the nearest are {' and '.join(near)}"
        )
    return dim


def fill_triangular(packed: Tensor, dim: int) -> Tensor:
    """Lower triangles of shape (*, d, d) from d (d + 1) / 2 packed numbers each, in TensorFlow Probability's order.

    The packed numbers without their first d, followed by all of them reversed, fill the square row by row; the entries
    above the diagonal are set to 0.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import fill_triangular
        >>> fill_triangular(torch.arange(1.0, 7.0), 3)
        tensor([[4., 0., 0.],
                [6., 5., 0.],
                [3., 2., 1.]])
    """
    square = torch.cat([packed[..., dim:], packed.flip(-1)], -1)
    return square.view(*packed.shape[:-1], dim, dim).tril()


def pack_triangular(matrix: Tensor) -> Tensor:
    """The packed numbers that `fill_triangular` turns into the lower triangle of `matrix`, of shape (*, d, d)."""
    dim = matrix.shape[-1]
    half = dim // 2
    return join_packed(matrix[..., dim - half - 1 :, :].flip(-2, -1), matrix[..., :half, :half])


def join_packed(turned: Tensor, first: Tensor) -> Tensor:
    """The packed numbers from the last h + 1 rows, rotated by 180 degrees, and the first h rows, h = d // 2.

    In rows of length d, row j of the packed numbers holds row j - 1 of the triangle, followed by the j-th last row
    backwards, from the diagonal on. For even d the last row ends half-way.

    Arguments:
        turned: of shape (*, h + 1, d); it is overwritten.
        first: the first h rows of the triangle without their zeros on the right, of shape (*, h, h).
    """
    half, dim = first.shape[-1], turned.shape[-1]
    before = torch.ones(half, half, dtype=torch.bool, device=first.device).tril()
    turned[..., 1:, :half] = torch.where(before, first, turned[..., 1:, :half])
    return turned.flatten(-2)[..., : dim * (dim + 1) // 2]
