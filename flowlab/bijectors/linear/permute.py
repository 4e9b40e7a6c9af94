"""A fixed permutation of the coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector


class Permute(Bijector):
    """y_i = x_order[i]: a fixed permutation of the coordinates of a vector, of log det 0.

    Arguments:
        order: a permutation of 0 to d - 1.

    Raises:
        ValueError: the order is no permutation.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import Permute
        >>> Permute([2, 0, 1])(torch.tensor([10.0, 20.0, 30.0]))
        tensor([30., 10., 20.])
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = affine = True
    order: Tensor
    inverse_order: Tensor

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        if sorted(order) != list(range(len(order))):
            raise ValueError(f"Permute: order={list(order)!r} must hold each of 0 to {len(order) - 1} once")
        self.event_shape = (len(order),)
        self.register_buffer("order", torch.tensor(list(order)))
        self.register_buffer("inverse_order", torch.tensor(sorted(range(len(order)), key=list(order).__getitem__)))

    @classmethod
    def random(cls, dim: int, generator: torch.Generator | None = None) -> Permute:
        """A permutation of `dim` coordinates, drawn from a generator."""
        return cls(torch.randperm(dim, generator=generator, device="cpu").tolist())

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x[..., self.order], x.new_zeros(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y[..., self.inverse_order], y.new_zeros(y.shape[:-1])
