"""A learned shift and scale of each coordinate, which data can initialize."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.shapes import check_dim


class ActNorm(Bijector):
    r"""y = exp(log_scale) x + shift, a scale and a shift for each coordinate; it starts at the identity.

    forward  y = exp(log_scale) x + shift       log det  sum log_scale
    inverse  x = exp(-log_scale) (y - shift)    log det  -sum log_scale

    `initialize` sets both from points y such that their pre-images have mean 0 and standard deviation 1. The values are
    parameters like others from then on, so a checkpoint holds them.

    Arguments:
        dim: d, the length of x.

    Raises:
        ValueError: dim below 1.

    Reference:
        | Glow: Generative Flow with Invertible 1x1 Convolutions (Diederik Kingma, Prafulla Dhariwal, 2018)
        | https://arxiv.org/abs/1807.03039

    Example:
        >>> import torch
        >>> from flowlab.bijectors import ActNorm
        >>> norm = ActNorm(1)
        >>> norm.initialize(torch.tensor([[1.0], [3.0]]))
        >>> norm.inverse(torch.tensor([[1.0], [3.0]])).detach().T
        tensor([[-1.,  1.]])
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = affine = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_dim("ActNorm", dim)
        self.event_shape = (dim,)
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    @torch.no_grad()
    def initialize(self, y: Tensor) -> None:
        """Standardize points of shape (n, d); a coordinate that does not vary keeps its scale."""
        deviation = y.std(0, correction=0)
        self.shift.copy_(y.mean(0))
        self.log_scale.copy_(torch.where(deviation > 0, deviation, 1.0).log())

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            self.log_scale.zero_()
            self.shift.zero_()

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.log_scale.exp() * x + self.shift, self.log_scale.sum().expand(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (y - self.shift) * (-self.log_scale).exp(), -self.log_scale.sum().expand(y.shape[:-1])
