"""A dense linear map by its triangular factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.linalg import solve_triangular

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.shapes import check_dim


class LU(Bijector):
    r"""y = L U x + shift, L lower triangular with ones on its diagonal, U upper triangular with a positive one.

    forward  y = L U x + shift              log det  sum log U_ii
    inverse  x = U^-1 L^-1 (y - shift)      log det  -sum log U_ii

    It starts at the identity, and mixes all coordinates of a flow: what Glow calls an invertible 1 x 1 convolution.

    Arguments:
        dim: d, the length of x.

    Raises:
        ValueError: dim below 1.

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

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_dim("LU", dim)
        self.event_shape = (dim,)
        self.factors = nn.Parameter(torch.zeros(dim, dim))  # L below the diagonal, U above it
        self.log_diagonal = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()

    def _triangles(self) -> tuple[Tensor, Tensor]:
        ones = torch.ones_like(self.log_diagonal).diag()
        return self.factors.tril(-1) + ones, self.factors.triu(1) + self.log_diagonal.exp().diag()

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        y = x @ (lower @ upper).mT + self.shift
        return y, self.log_diagonal.sum().expand(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        columns = (y - self.shift).reshape(-1, y.shape[-1]).mT
        columns = solve_triangular(lower, columns, upper=False, unitriangular=True)
        x = solve_triangular(upper, columns, upper=True).mT.reshape(y.shape)
        return x, -self.log_diagonal.sum().expand(y.shape[:-1])
