"""Vectors as probabilities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import pad

from flowlab.bijectors.base import Bijector
from flowlab.torch_distributions import open_simplex


class SoftmaxCentered(Bijector):
    r"""y = softmax(x_1, ..., x_d, 0), from vectors of d numbers to the d + 1 probabilities of an open simplex.

    forward  y = softmax([x, 0])              log det  sum_k log y_k over all d + 1 coordinates
    inverse  x_k = log y_k - log y_(d+1)      log det  -sum_k log y_k

    The log det is taken between x and the first d coordinates of y, which determine the last. Their Jacobian is
    dy_i/dx_j = y_i (delta_ij - y_j), the matrix diag(y) - y y^T of the first d coordinates, whose determinant is
    y_1 ... y_d (1 - y_1 - ... - y_d) = y_1 ... y_(d+1) by the matrix determinant lemma. Densities are therefore with
    respect to the first d coordinates, as in torch's Dirichlet. Events of x have d numbers, events of y d + 1.

    A coordinate that underflows to 0 cannot be inverted. So the coordinates of [x, 0] may differ by at most 103 in
    float32 and 744 in float64. The log of the number of largest coordinates makes this less.

    Raises:
        ValueError: an image with fewer than 2 coordinates.

    Reference:
        | TensorFlow Distributions (Joshua V. Dillon et al., 2017)
        | https://arxiv.org/abs/1711.10604

    Example:
        >>> import torch
        >>> from flowlab.bijectors import SoftmaxCentered
        >>> y, log_det = SoftmaxCentered().forward_and_log_det(torch.zeros(3))
        >>> y, log_det
        (tensor([0.2500, 0.2500, 0.2500, 0.2500]), tensor(-5.5452))
    """

    event_dim = 1
    domain, codomain = constraints.real_vector, open_simplex()

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        if shape[-1] < 2:
            raise ValueError(f"SoftmaxCentered: an image has at least 2 coordinates, got shape {tuple(shape)}")
        return torch.Size((*shape[:-1], shape[-1] - 1))

    def invertible(self, dtype: torch.dtype) -> tuple[float, float]:
        end = 101.0 if dtype == torch.float32 else 742.0
        return -end, end

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_y = pad(x, (0, 1)).log_softmax(-1)
        return log_y.exp(), log_y.sum(-1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.inverse_shape(y.shape)
        log_y = y.log()
        return log_y[..., :-1] - log_y[..., -1:], -log_y.sum(-1)
