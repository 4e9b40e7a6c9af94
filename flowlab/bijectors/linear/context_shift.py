"""A shift that is linear in the context: the prediction of a linear regression."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.shapes import broadcast_context, check_dim


class ContextShift(Bijector):
    r"""y = x + W c for a context c; it starts at the identity, with W = 0.

    forward  y = x + W c    log det  0
    inverse  x = y - W c    log det  0

    After a base it makes a linear regression with coefficients W, whose errors are the base. Behind the other layers of
    a flow it also moves the bounds of the data with the context. Without a context it is the identity.

    Arguments:
        dim: d, the length of x.
        context: the length of c.

    Raises:
        ValueError: dim or context below 1, or a context of another length.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import ContextShift
        >>> line = ContextShift(1, context=1)
        >>> _ = line.weight.data.fill_(2.0)
        >>> line(torch.tensor([[0.5]]), torch.tensor([[1.0], [10.0]])).detach().T
        tensor([[ 2.5000, 20.5000]])
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    constant_log_det = affine = True

    def __init__(self, dim: int, context: int) -> None:
        super().__init__()
        check_dim("ContextShift", dim)
        if context < 1:
            raise ValueError(f"ContextShift: context={context!r} must be at least 1")
        self.event_shape, self.context = (dim,), context
        self.weight = nn.Parameter(torch.zeros(dim, context))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        nn.init.zeros_(self.weight)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = x if context is None else x + self._shift(x, context)
        return y, y.new_zeros(y.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = y if context is None else y - self._shift(y, context)
        return x, x.new_zeros(x.shape[:-1])

    def _shift(self, points: Tensor, context: Tensor) -> Tensor:
        if context.shape[-1] != self.context:
            raise ValueError(
                f"ContextShift: the context has shape {tuple(context.shape)}; its last dimension must be {self.context}"
            )
        return broadcast_context(points, nn.functional.linear(context, self.weight), event_dim=1)
