"""A dense linear map by its triangular factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.linalg import solve_triangular

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.shapes import check_dim


class LU(Bijector):
    r"""y = P L U x + shift: a permutation, a unit lower triangle, and an upper one whose diagonal has fixed signs.

    forward  y = P L U x + shift                  log det  sum log |U_ii|
    inverse  x = U^-1 L^-1 P^-1 (y - shift)       log det  -sum log |U_ii|

    It mixes all coordinates of a flow: what Glow calls an invertible 1 x 1 convolution. Without P and with positive
    signs it starts at the identity. It may also start at a random rotation; P and the signs are then constants that
    the rotation gives.

    Arguments:
        dim: d, the length of x.
        initial: "identity", or "rotation", drawn uniformly.
        generator: draws the rotation; None is torch's global stream.

    Raises:
        ValueError: dim below 1, or an unknown initialization.

    Reference:
        | Glow: Generative Flow with Invertible 1x1 Convolutions (Diederik Kingma, Prafulla Dhariwal, 2018)
        | https://arxiv.org/abs/1807.03039

    Example:
        >>> import torch
        >>> from flowlab.bijectors import LU
        >>> LU(2)(torch.tensor([1.0, 2.0])).detach()
        tensor([1., 2.])
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = affine = True

    order: Tensor | None  # y_i is coordinate order[i] of L U x
    signs: Tensor | None

    def __init__(self, dim: int, initial: str = "identity", generator: torch.Generator | None = None) -> None:
        super().__init__()
        check_dim("LU", dim)
        if initial not in ("identity", "rotation"):
            raise ValueError(f"LU: initial={initial!r} is unknown; allowed: identity, rotation")
        self.event_shape, self.dim, self.initial = (dim,), dim, initial
        self.factors = nn.Parameter(torch.zeros(dim, dim))  # L below the diagonal, U above it
        self.log_diagonal = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))
        is_rotated = initial == "rotation"
        self.register_buffer("order", torch.arange(dim) if is_rotated else None)
        self.register_buffer("signs", torch.ones(dim) if is_rotated else None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            if self.order is None or self.signs is None:
                return
            permutation, lower, upper = torch.linalg.lu(draw_rotation(self.dim, generator))
            self.factors.copy_(lower.tril(-1) + upper.triu(1))
            self.log_diagonal.copy_(upper.diagonal().abs().log())
            self.order.copy_(permutation.argmax(-1))
            self.signs.copy_(upper.diagonal().sign())

    def _triangles(self) -> tuple[Tensor, Tensor]:
        ones, diagonal = torch.ones_like(self.log_diagonal).diag(), self.log_diagonal.exp()
        if self.signs is not None:
            diagonal = self.signs * diagonal
        return self.factors.tril(-1) + ones, self.factors.triu(1) + diagonal.diag()

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        y = x @ (lower @ upper).mT
        y = (y if self.order is None else y[..., self.order]) + self.shift
        return y, self.log_diagonal.sum().expand(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        centred = y - self.shift
        centred = centred if self.order is None else centred[..., self.order.argsort()]
        columns = centred.reshape(-1, y.shape[-1]).mT
        columns = solve_triangular(lower, columns, upper=False, unitriangular=True)
        x = solve_triangular(upper, columns, upper=True).mT.reshape(y.shape)
        return x, -self.log_diagonal.sum().expand(y.shape[:-1])


def draw_rotation(dim: int, generator: torch.Generator | None = None) -> Tensor:
    """A rotation of `dim` coordinates, uniform among all, on the CPU.

    Reference:
        | How to Generate Random Matrices from the Classical Compact Groups (Francesco Mezzadri, 2006)
        | https://arxiv.org/abs/math-ph/0609050
    """
    orthogonal, triangle = torch.linalg.qr(torch.randn(dim, dim, generator=generator, device="cpu"))
    orthogonal = orthogonal * triangle.diagonal().sign()
    orthogonal[:, 0] *= torch.linalg.det(orthogonal).sign()  # a rotation, not a reflection
    return orthogonal
