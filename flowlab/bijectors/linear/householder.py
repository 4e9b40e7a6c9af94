"""Learned orthogonal maps: products of reflections."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.linalg import solve_triangular

from flowlab.bijectors.base import Bijector


class Householder(Bijector):
    r"""y = H_1 ... H_k x, a product of k reflections H_i = I - 2 v_i v_i^T / |v_i|^2: an orthogonal map.

    forward  y = x - V T^-1 V^T x        log det  0
    inverse  x = y - V T^-T V^T y        log det  0

    The columns of V are the unit vectors v_i / |v_i|, and T is the upper triangle of V^T V with its diagonal halved. So
    all reflections together take two products of matrices and one triangular solve of size k. With k = d every
    orthogonal map can be reached.

    Arguments:
        dim: d, the length of x.
        reflections: k, at least 1; None is d, or d + 1 where d is odd and the map starts at the identity.
        initial: "identity", where the vectors are drawn in equal pairs, so k must be even; or "random", a uniform
            orthogonal map if k = d.
        generator: draws the vectors; None is torch's global stream.

    Raises:
        ValueError: a size out of range, an odd number of reflections at the identity, or an unknown initialization.

    Reference:
        | A Storage-Efficient WY Representation for Products of Householder Transformations (Robert Schreiber,
          Charles Van Loan, 1989)
        | https://doi.org/10.1137/0910005
        | Improving Variational Auto-Encoders using Householder Flow (Jakub Tomczak, Max Welling, 2016)
        | https://arxiv.org/abs/1611.09630

    Example:
        >>> import torch
        >>> from flowlab.bijectors import Householder
        >>> turn = Householder(2, initial="random", generator=torch.Generator().manual_seed(0))
        >>> round(turn(torch.tensor([3.0, 4.0])).norm().item(), 4)  # lengths are kept
        5.0
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = affine = True

    def __init__(
        self,
        dim: int,
        reflections: int | None = None,
        initial: str = "identity",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"Householder: dim={dim!r} must be at least 1")
        if initial not in ("identity", "random"):
            raise ValueError(f"Householder: initial={initial!r} is unknown; allowed: identity, random")
        if reflections is None:
            reflections = dim + dim % 2 if initial == "identity" else dim
        if reflections < 1:
            raise ValueError(f"Householder: reflections={reflections!r} must be at least 1")
        if initial == "identity" and reflections % 2:
            raise ValueError(
                f"Householder: reflections={reflections!r} must be even to start at the identity; use "
                f"{reflections + 1} or initial='random'"
            )
        self.event_shape, self.initial = (dim,), initial
        self.vectors = nn.Parameter(torch.empty(reflections, dim))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            self.vectors.normal_(generator=generator)
            if self.initial == "identity":
                self.vectors[1::2] = self.vectors[::2]

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._reflect(x, transposed=False), x.new_zeros(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._reflect(y, transposed=True), y.new_zeros(y.shape[:-1])

    def _reflect(self, points: Tensor, transposed: bool) -> Tensor:
        unit = self.vectors / torch.linalg.vector_norm(self.vectors, dim=-1, keepdim=True)
        triangle = (unit @ unit.mT).triu(1) + 0.5 * torch.eye(len(unit), dtype=unit.dtype, device=unit.device)
        if transposed:
            return points - (points @ unit.mT) @ solve_triangular(triangle, unit, upper=True)
        return points - (points @ unit.mT) @ solve_triangular(triangle.mT, unit, upper=False)
