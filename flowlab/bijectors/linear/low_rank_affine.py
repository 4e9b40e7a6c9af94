"""An affine map with a triangular or diagonal scale plus a low-rank update, never inverted densely."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.autocast import full_precision, product
from flowlab.bijectors.base import Bijector
from flowlab.bijectors.linear.inverted import LARGEST_DIM, InvertedAffine, inverse_and_log_det
from flowlab.bijectors.linear.packed import diagonal_places
from flowlab.bijectors.linear.scales import DiagonalScale, Scale, triangular_scale
from flowlab.bijectors.linear.triangular import fill_triangular

SCALES = ("tril", "diag")


class LowRankAffine(Bijector):
    r"""y = (M + V D V^T) x + shift, with M lower triangular or diagonal and V of rank r.

    forward  y = M x + V D V^T x + shift                 log det  log |det M| + log |det C|,  C = I + D V^T M^-1 V
    inverse  x = z - M^-1 V C^-1 D V^T z, z = M^-1 (y - shift)    log det  the same with its sign turned

    The log det is the matrix determinant lemma and the inverse is Woodbury's identity: beside a triangular solve only
    an r x r system is solved. The cost is O(d^2 + d r^2) with a triangular scale and O(d r^2) with a diagonal one,
    gradients included; no dense d x d inverse or determinant is formed. `prepare` makes an exception for small d.

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

    Inside `torch.autocast` the products of `forward` are in its dtype. Solves are not, nor is the correction of
    Woodbury's identity: where V is large the two nearly cancel.

    Forward-mode derivatives (`torch.func.jvp`, `jacfwd`) of a triangular map exist up to d = 256.

    M is unconstrained, as in Jang's tutorial: a diagonal entry at 0 makes the map singular; the log det repels it.

    Reference:
        | Updating the inverse of a matrix (William W. Hager, 1989)
        | https://doi.org/10.1137/1031049

    Example:
        >>> import torch
        >>> from flowlab.bijectors import LowRankAffine
        >>> affine = LowRankAffine(3, rank=1, generator=torch.Generator().manual_seed(0))
        >>> x = torch.ones(5, 3)
        >>> y, log_det = affine.forward_and_log_det(x)
        >>> y.shape, log_det.shape, torch.allclose(affine.inverse(y), x, atol=1e-5)
        (torch.Size([5, 3]), torch.Size([5]), True)
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = True
    affine = True
    handles_autocast = True

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
        if scale not in SCALES:
            raise ValueError(f"LowRankAffine: scale={scale!r} is unknown; allowed: {', '.join(SCALES)}")
        for name, deviation in (("factor_scale", factor_scale), ("shift_scale", shift_scale)):
            if not 0 <= deviation < math.inf:
                raise ValueError(f"LowRankAffine: {name}={deviation!r} must be finite and at least 0")
        self.dim, self.rank, self.scale_kind, self.event_shape = dim, rank, scale, (dim,)
        self.preparation_key = (dim, rank, scale, weighted) if dim <= LARGEST_DIM else None
        self.factor_scale, self.shift_scale = factor_scale, shift_scale
        self.scale = nn.Parameter(torch.empty(dim * (dim + 1) // 2 if scale == "tril" else dim))
        self.factor = nn.Parameter(torch.empty(dim, rank)) if rank else None
        self.weights = nn.Parameter(torch.empty(rank)) if rank and weighted else None
        self.shift = nn.Parameter(torch.empty(dim))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            if self.scale_kind == "tril":
                self.scale.zero_()[diagonal_places(self.dim, self.scale.device)] = 1.0
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
            log_det = matrix.log_det()
            if self.factor is not None:
                lu, _, _ = torch.linalg.lu_factor_ex(self._capacitance(matrix.solve(self.factor.mT)))
                log_det = log_det + _log_det(lu)
        return self._image(x, matrix), log_det.expand(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(y):
            x, log_det = self.solve((y - self.shift).reshape(-1, self.dim))
        return x.reshape(y.shape), (-log_det).expand(y.shape[:-1])

    def solve(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(M + V D V^T)^-1 applied to each row, of shape (n, d), and the log |det| of the matrix, of shape ()."""
        matrix = self._scale_matrix()
        if self.factor is None:
            return matrix.solve(rows), matrix.log_det()
        # One solve serves the rows and V, both as row vectors, so neither needs a transpose.
        both = matrix.solve(torch.cat([rows, self.factor.mT]))
        z, unscaled_factor = both[: rows.shape[0]], both[rows.shape[0] :]
        capacitance = self._capacitance(unscaled_factor)
        lu, pivots, _ = torch.linalg.lu_factor_ex(capacitance)
        # The log det of M comes last: autograd then computes its gradient first, and adds the solve's in place.
        projected, log_det = self._apply_weights(z @ self.factor), matrix.log_det() + _log_det(lu)
        if rows.shape[0] < self.dim:  # fewer rows than V has: apply the r x r matrix to them
            return z - projected @ torch.linalg.inv_ex(capacitance)[0] @ unscaled_factor, log_det
        return z - projected @ torch.linalg.lu_solve(lu, pivots, unscaled_factor), log_det

    def dense(self) -> Tensor:
        """The matrix M + V D V^T, of shape (d, d), for inspection of small maps and for tests."""
        return low_rank_matrix(self.dim, self.scale, self.factor, self.weights)

    @classmethod
    def prepare(cls, many: Sequence[LowRankAffine]) -> Sequence[Bijector]:
        """Invert the matrices of many maps at once: many tiny operations take longer to start than to run."""
        factors: list[Tensor] = [each.factor for each in many if each.factor is not None]
        weights: list[Tensor] = [each.weights for each in many if each.weights is not None]
        matrices = low_rank_matrix(
            many[0].dim,
            torch.stack([each.scale for each in many]),
            torch.stack(factors) if factors else None,
            torch.stack(weights) if weights else None,
        )
        inverses, log_dets = inverse_and_log_det(matrices)
        return [
            InvertedAffine(each, each.shift, inverse, log_det)
            for each, inverse, log_det in zip(many, inverses.unbind(), log_dets.unbind(), strict=True)
        ]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, rank={self.rank}, scale={self.scale_kind!r}, weighted={self.weights is not None}"

    def _scale_matrix(self) -> Scale:
        return triangular_scale(self.scale, self.dim) if self.scale_kind == "tril" else DiagonalScale(self.scale)

    def _image(self, x: Tensor, matrix: Scale) -> Tensor:
        y = self.shift + matrix.multiply(x)
        return y if self.factor is None else y + product(self._apply_weights(product(x, self.factor)), self.factor.mT)

    def _apply_weights(self, value: Tensor) -> Tensor:
        return value if self.weights is None else value * self.weights

    def _capacitance(self, unscaled_factor: Tensor) -> Tensor:
        """The transpose of C = I + D V^T M^-1 V, of shape (r, r), from (M^-1 V)^T."""
        factor = self.factor
        assert factor is not None
        identity = torch.eye(self.rank, dtype=unscaled_factor.dtype, device=unscaled_factor.device)
        return identity + self._apply_weights(unscaled_factor @ factor)


def low_rank_matrix(dim: int, scale: Tensor, factor: Tensor | None, weights: Tensor | None) -> Tensor:
    """M + V D V^T, of shape (*, d, d), from the parameters of a `LowRankAffine`, each stacked along dimensions (*)."""
    matrix = torch.diag_embed(scale) if scale.shape[-1] == dim else fill_triangular(scale, dim)
    if factor is None:
        return matrix
    weighted = factor if weights is None else factor * weights[..., None, :]
    with full_precision(factor):
        return matrix + weighted @ factor.mT


def _log_det(lu: Tensor) -> Tensor:
    """log |det| from an LU factorization.

    `slogdet` and `solve` raise an error where a matrix is singular, also in a gradient. A factorization gives values
    that are not finite instead, so one of many flows trained together can fail alone.
    """
    return lu.diagonal().abs().log().sum()
