"""An affine map with a triangular or diagonal scale plus a low-rank update, inverted densely only where it is small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.autocast import full_precision, is_any_autocast_on
from flowlab.bijectors.base import METHODS, Bijector
from flowlab.bijectors.linear.packed import PackedScale

LARGEST_UNPACKED = 256  # above, unpacking a triangle costs more than computing with its parts; both differ in rounding
LARGEST_DIM = 16  # up to here a dense inverse is cheaper than a triangular solve and a low-rank correction
SMALLEST_DENSE = 3  # from here to LARGEST_DIM a solve is dense; in two dimensions recorded numbers stay as they are


class LowRankAffine(Bijector):
    r"""y = (M + V D V^T) x + shift, with M lower triangular or diagonal and V of rank r.

    forward  y = M x + V D V^T x + shift                 log det  log |det M| + log |det C|,  C = I + D V^T M^-1 V
    inverse  x = z - M^-1 V C^-1 D V^T z, z = M^-1 (y - shift)    log det  the same with its sign turned

    The log det is the matrix determinant lemma and the inverse is Woodbury's identity: beside a triangular solve only
    an r x r system is solved. The cost is O(d^2 + d r^2) with a triangular scale and O(d r^2) with a diagonal one,
    gradients included. The relative error of Woodbury's identity is up to eps cond(M) cond(C). For d from 3 to 16 the
    solve is dense instead, with eps cond(M + V D V^T), which may be far less.

    Arguments:
        dim: d, the length of x; x has shape (*, d).
        rank: r, from 0 (no update) to d.
        scale: "tril", M packed as d (d + 1) / 2 numbers in TensorFlow Probability's order (the last row first, see
            `fill_triangular`), or "diag", M as d numbers. Both are initialized to the identity.
        weighted: learn D, r weights initialized to 1; otherwise D = I.
        factor_scale: standard deviation of the normal initialization of V, of shape (d, r).
        shift_scale: standard deviation of the normal initialization of the shift, of shape (d,).
        generator: the source of the initialization; None is torch's global stream.

    Raises:
        ValueError: dim, rank, scale or a standard deviation out of range.

    The map is invertible if and only if det M det C is not 0. In one dimension M = -1, V = 1 is singular, although M is
    not. It starts invertible, with M = I and D >= 0. The parameters are unconstrained, as in Jang's tutorial: near a
    singular map the preimages of data, and so the loss, grow without bound. Inside `torch.autocast` only the products
    of `forward` are in its dtype; Woodbury's terms nearly cancel where V is large. Forward-mode derivatives
    (`torch.func.jvp`, `jacfwd`) of a triangular map exist up to d = 256.

    Reference:
        | Updating the inverse of a matrix (William W. Hager, 1989)
        | https://doi.org/10.1137/1031049

    Example:
        >>> import torch
        >>> from flowlab.bijectors import LowRankAffine
        >>> affine = LowRankAffine(3, rank=1, generator=torch.Generator().manual_seed(0))
        >>> y, log_det = affine.forward_and_log_det(torch.ones(5, 3))
        >>> y.shape, log_det.shape, torch.allclose(affine.inverse(y), torch.ones(5, 3), atol=1e-5)
        (torch.Size([5, 3]), torch.Size([5]), True)
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = affine = True
    handles_autocast = ("forward", "forward_and_log_det")

    def __init__(
        self,
        dim: int,
        rank: int = 0,
        scale: str = "tril",
        weighted: bool = False,
        factor_scale: float = 1.0,
        shift_scale: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"LowRankAffine: dim={dim!r} must be at least 1")
        if not 0 <= rank <= dim:
            raise ValueError(f"LowRankAffine: rank={rank!r} must be from 0 to dim={dim}")
        if scale not in ("tril", "diag"):
            raise ValueError(f"LowRankAffine: scale={scale!r} is unknown; allowed: tril, diag")
        for name, deviation in (("factor_scale", factor_scale), ("shift_scale", shift_scale)):
            if not 0 <= deviation < math.inf:
                raise ValueError(f"LowRankAffine: {name}={deviation!r} must be finite and at least 0")
        self.dim, self.rank, self.scale_kind, self.event_shape = dim, rank, scale, (dim,)
        self.preparation_key = (dim, rank, scale, weighted) if dim <= LARGEST_DIM else None
        self.factor_scale, self.shift_scale = factor_scale, shift_scale
        self._is_solved_densely = rank > 0 and SMALLEST_DENSE <= dim <= LARGEST_DIM
        self.scale = nn.Parameter(torch.empty(dim * (dim + 1) // 2 if scale == "tril" else dim))
        self.factor = nn.Parameter(torch.empty(dim, rank)) if rank else None
        self.weights = nn.Parameter(torch.empty(rank)) if rank and weighted else None
        self.shift = nn.Parameter(torch.empty(dim))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            if self.scale_kind == "tril":
                self.scale.zero_()
                for start in (0, self.dim):  # the last half of the diagonal backwards, and the first half
                    self.scale[start :: self.dim + 1] = 1.0
            else:
                self.scale.fill_(1.0)
            if self.factor is not None:
                self.factor.normal_(0.0, self.factor_scale, generator=generator)
            if self.weights is not None:
                self.weights.fill_(1.0)
            self.shift.normal_(0.0, self.shift_scale, generator=generator)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._image(x, self._scale_matrix())

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        matrix = self._scale_matrix()
        with full_precision(x):
            if self._is_solved_densely:
                log_det = _log_det(torch.linalg.lu_factor_ex(self.dense())[0].diagonal())
            elif self.factor is None:
                log_det = matrix.log_det()
            else:
                lu, _, _ = torch.linalg.lu_factor_ex(self._capacitance(self.factor, matrix.solve(self.factor.mT)))
                log_det = matrix.log_det() + _log_det(lu.diagonal())
        return self._image(x, matrix), log_det.expand(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.solve((y - self.shift).reshape(-1, self.dim))
        return x.reshape(y.shape), (-log_det).expand(y.shape[:-1])

    def solve(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(M + V D V^T)^-1 applied to each row, of shape (n, d), and the log |det| of the matrix, of shape ()."""
        if self._is_solved_densely:
            lu, pivots, _ = torch.linalg.lu_factor_ex(self.dense())
            return torch.linalg.lu_solve(lu, pivots, rows, left=False, adjoint=True), _log_det(lu.diagonal())
        matrix = self._scale_matrix()
        if self.factor is None:
            return matrix.solve(rows), matrix.log_det()
        both = matrix.solve(torch.cat([rows, self.factor.mT]))  # one solve, of row vectors: none needs a transpose
        z, unscaled_factor = both[: rows.shape[0]], both[rows.shape[0] :]
        capacitance = self._capacitance(self.factor, unscaled_factor)
        lu, pivots, _ = torch.linalg.lu_factor_ex(capacitance)
        # The log det of M comes last: autograd then computes its gradient first, and adds the solve's in place.
        projected, log_det = self._apply_weights(z @ self.factor), matrix.log_det() + _log_det(lu.diagonal())
        if rows.shape[0] < self.dim:  # fewer rows than V has: apply the r x r matrix to them
            return z - projected @ torch.linalg.inv_ex(capacitance)[0] @ unscaled_factor, log_det
        return z - projected @ torch.linalg.lu_solve(lu, pivots, unscaled_factor), log_det

    def dense(self) -> Tensor:
        """The matrix M + V D V^T, of shape (d, d), for inspection of small maps and for tests."""
        return _dense(self.dim, self.scale, self.factor, self.weights)

    @classmethod
    def prepare(cls, many: Sequence[LowRankAffine]) -> Sequence[Bijector]:
        """Invert the matrices of many maps at once: many tiny operations take longer to start than to run."""
        tensors = zip(*((each.scale, each.factor, each.weights) for each in many), strict=True)
        stacked: list[Any] = [None if each[0] is None else torch.stack(each) for each in tensors]
        inverses, log_dets = _invert(_dense(many[0].dim, *stacked))
        prepared = zip(many, inverses.unbind(), log_dets.unbind(), strict=True)
        return [InvertedAffine(each, inverse, log_det) for each, inverse, log_det in prepared]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, rank={self.rank}, scale={self.scale_kind!r}, weighted={self.weights is not None}"

    def _scale_matrix(self) -> DiagonalScale | TriangularScale | PackedScale:
        if self.scale_kind == "diag":
            return DiagonalScale(self.scale)
        if self.dim > LARGEST_UNPACKED:
            return PackedScale(self.scale, self.dim)
        return TriangularScale(fill_triangular(self.scale, self.dim))

    def _image(self, x: Tensor, matrix: DiagonalScale | TriangularScale | PackedScale) -> Tensor:
        y = self.shift + matrix.multiply(_uncached(x))
        if self.factor is None:
            return y
        projected = self._apply_weights((_uncached(x) @ _uncached(self.factor)).to(x.dtype))
        return y + (projected @ self.factor.mT).to(x.dtype)

    def _apply_weights(self, value: Tensor) -> Tensor:
        return value if self.weights is None else value * self.weights

    def _capacitance(self, factor: Tensor, unscaled_factor: Tensor) -> Tensor:
        """The transpose of C = I + D V^T M^-1 V, of shape (r, r), from V and (M^-1 V)^T."""
        identity = torch.eye(self.rank, dtype=unscaled_factor.dtype, device=unscaled_factor.device)
        return identity + self._apply_weights(unscaled_factor @ factor)


class InvertedAffine(Bijector):
    """An affine map for fixed parameters, whose inverse x = A^-1 (y - shift) is computed from A^-1; see `prepare`.

    Arguments:
        affine: the map, y = A x + shift, whose forward it shares.
        inverse: A^-1, of shape (d, d).
        log_det: log |det A^-1| in nats, of shape (): it is given once for all points.
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = affine = True
    handles_autocast = METHODS
    original: LowRankAffine
    tensors: tuple[Tensor, Tensor, Tensor]

    def __init__(self, affine: LowRankAffine, inverse: Tensor, log_det: Tensor) -> None:
        super().__init__()
        # Not registered: it is made anew every step.
        vars(self).update(original=affine, tensors=(affine.shift, inverse, log_det))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.original.forward_and_log_det(x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, inverse, log_det = self.tensors
        if y.ndim == 1:
            return (inverse @ (y - shift)).to(y.dtype), log_det
        return (inverse @ (y - shift).mT).to(y.dtype).mT, log_det  # points in columns: faster for few coordinates


@dataclass(frozen=True)
class DiagonalScale:
    """M from its diagonal, of shape (d,). M and M^-1 are applied to each row; the log |det| is in nats, of shape ()."""

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
        return (rows @ self.triangle.mT).to(rows.dtype)  # inside autocast the product is in its dtype

    def solve(self, rows: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.triangle.mT, rows, upper=True, left=False)

    def log_det(self) -> Tensor:
        return _log_det(self.triangle.diagonal())


def fill_triangular(packed: Tensor, dim: int) -> Tensor:
    """Lower triangles of shape (*, d, d) from d (d + 1) / 2 packed numbers each, in the order of `FillTriangular`."""
    square = torch.cat([packed[..., dim:], packed.flip(-1)], -1)
    return square.view(*packed.shape[:-1], dim, dim).tril()


def _dense(dim: int, scale: Tensor, factor: Tensor | None, weights: Tensor | None) -> Tensor:
    """M + V D V^T, of shape (*, d, d), from the parameters of a `LowRankAffine`, each stacked along dimensions (*)."""
    matrix = torch.diag_embed(scale) if scale.shape[-1] == dim else fill_triangular(scale, dim)
    if factor is None:
        return matrix
    weighted = factor if weights is None else factor * weights[..., None, :]
    with full_precision(factor) if is_any_autocast_on() else nullcontext():
        return matrix + weighted @ factor.mT


def _uncached(leaf: Tensor) -> Tensor:
    """A view inside autocast, which caches the casts of leaves alone: one made in no_grad would have no gradient."""
    return leaf.view_as(leaf) if is_any_autocast_on() else leaf


def _log_det(diagonal: Tensor) -> Tensor:
    """log |det| from a triangle or an LU factorization; a singular matrix gives no error, as it would in `slogdet`."""
    return diagonal.abs().log().sum()


def _invert(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of a matrix of shape (*, d, d), and log |det| of the inverse, of shape (*); not finite if singular.

    Up to d = 3 it is the adjugate over the determinant: the first row times the first column of the adjugate.
    """
    dim = matrix.shape[-1]
    if dim > 3:  # up to there cofactors are cheaper than a factorization
        lu = torch.linalg.lu_factor_ex(matrix)[0]
        return torch.linalg.inv_ex(matrix)[0], -lu.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
    if dim == 1:
        adjugate = torch.ones_like(matrix)
    elif dim == 2:
        a, b, c, d = matrix.flatten(-2).unbind(-1)
        adjugate = torch.stack([d, -b, -c, a], -1).view(matrix.shape)
    else:
        first, second, third = matrix.unbind(-2)
        cross = torch.linalg.cross
        adjugate = torch.stack([cross(second, third), cross(third, first), cross(first, second)], -1)
    det = (matrix[..., 0, :] * adjugate[..., :, 0]).sum(-1)
    return adjugate / det[..., None, None], -det.abs().log()
