"""An affine map whose matrix is inverted already: what the training step of a small flow uses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints

from flowlab.autocast import product
from flowlab.bijectors.base import Bijector

# Up to here a row times a dense d x d inverse is cheaper than a triangular solve and a low-rank correction.
LARGEST_DIM = 16
# Up to here cofactors are cheaper than a factorization.
LARGEST_COFACTORS = 3


class InvertedAffine(Bijector, checked=False):  # a flow has checked its points
    """An affine map for fixed parameters, its inverse x = A^-1 (y - shift) computed from A^-1; see `Bijector.prepare`.

    The log det of the inverse has shape (): it is given once for all points. `forward` is the forward of the map.

    Arguments:
        affine: the map, y = A x + shift.
        shift: of shape (d,).
        inverse: A^-1, of shape (d, d).
        log_det: log |det A^-1| in nats, of shape ().
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = True
    affine = True
    handles_autocast = True
    original: Bijector
    tensors: tuple[Tensor, Tensor, Tensor]

    def __init__(self, affine: Bijector, shift: Tensor, inverse: Tensor, log_det: Tensor) -> None:
        super().__init__()
        vars(self).update(original=affine, tensors=(shift, inverse, log_det))  # not registered: made anew every step

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.original.forward_and_log_det(x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, inverse, log_det = self.tensors
        if y.ndim == 1:
            return product(inverse, y - shift), log_det
        return product(inverse, (y - shift).mT).mT, log_det  # points in columns: faster for few coordinates


def inverse_and_log_det(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of a matrix of shape (*, d, d), and log |det| of the inverse, of shape (*).

    Up to d = 3 by cofactors: the adjugate over the determinant, which is the first row times the first column of the
    adjugate. A singular matrix gives values that are not finite, and no error.
    """
    dim = matrix.shape[-1]
    if dim > LARGEST_COFACTORS:
        lu = torch.linalg.lu_factor_ex(matrix)[0]
        return torch.linalg.inv_ex(matrix)[0], -lu.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
    adjugate = _adjugate(matrix)
    det = (matrix[..., 0, :] * adjugate[..., :, 0]).sum(-1)
    return adjugate / det[..., None, None], -det.abs().log()


def _adjugate(matrix: Tensor) -> Tensor:
    """The transposed cofactors of a matrix of shape (*, d, d), d up to 3."""
    if matrix.shape[-1] == 1:
        return torch.ones_like(matrix)
    if matrix.shape[-1] == 2:
        a, b, c, d = matrix.flatten(-2).unbind(-1)
        return torch.stack([d, -b, -c, a], -1).view(matrix.shape)
    first, second, third = matrix.unbind(-2)
    cross = torch.linalg.cross
    return torch.stack([cross(second, third), cross(third, first), cross(first, second)], -1)
