"""A bijector from functions, its log det derived by automatic differentiation where none is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.shapes import broadcast_context

FORWARD, INVERSE, LOG_DET = range(3)


class Inline(Bijector):
    r"""A bijector from functions: forward y = forward(x), inverse x = inverse(y), log det log |det dy/dx|.

    Arguments:
        forward: y from x, both of shape (*, event).
        inverse: x from y; without it the bijector samples but cannot score given points.
        log_det: log |det dy/dx| at x in nats, of the shape of x without its last `event_dim` dimensions. By default it
            is derived by automatic differentiation; for a map of vectors that takes the Jacobian of each point.
        event_dim: 0 for an elementwise map, 1 for a map of vectors.
        domain, codomain, sign, constant_log_det: see `Bijector`.
        parameters: keyword arguments of the functions. A number or a plain tensor is a constant; an `nn.Parameter` and
            the parameters of an `nn.Module` are learned. All move and save with the bijector.

    A function with an argument `context` is given the context, of shape (*batch, c). For a map of vectors it has the
    batch of x, so `torch.cat([x, context], -1)` works; for an elementwise map its batch broadcasts against x.

    Raises:
        ValueError: an event_dim other than 0 or 1, or a parameter whose name every bijector has already.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from flowlab.bijectors import Inline
        >>> cube = Inline(
        ...     forward=lambda x, scale: scale * x**3,
        ...     inverse=lambda y, scale: (y / scale).sign() * (y / scale).abs() ** (1 / 3),
        ...     scale=nn.Parameter(torch.tensor(2.0)),
        ... )
        >>> round(cube.forward_log_det_jacobian(torch.tensor(2.0)).exp().item(), 4)  # 3 scale x^2
        24.0
        >>> shift = Inline(
        ...     forward=lambda x, context, net: x + net(context),
        ...     inverse=lambda y, context, net: y - net(context),
        ...     event_dim=1,
        ...     net=nn.Linear(3, 2),
        ... )
        >>> shift(torch.zeros(7, 5, 2), torch.ones(5, 3)).shape  # a context for each of 5 points
        torch.Size([7, 5, 2])
    """

    def __init__(
        self,
        forward: Callable[..., Tensor],
        inverse: Callable[..., Tensor] | None = None,
        log_det: Callable[..., Tensor] | None = None,
        *,
        event_dim: int = 0,
        domain: Constraint = constraints.real,
        codomain: Constraint | None = None,
        sign: int = 0,
        constant_log_det: bool = False,
        **parameters: Any,
    ) -> None:
        super().__init__()
        if event_dim not in (0, 1):
            raise ValueError(f"Inline: event_dim={event_dim!r} must be 0 (elementwise) or 1 (vectors)")
        self._functions = (forward, inverse, log_det)
        self._take_context = tuple(map(_takes_context, self._functions))
        self.event_dim, self.domain = event_dim, domain
        self.codomain, self.onto = codomain or constraints.real, codomain is not None
        self.sign, self.constant_log_det, self.has_inverse = sign, constant_log_det, inverse is not None
        for name, value in parameters.items():
            if name == "context" or hasattr(self, name):
                raise ValueError(f"Inline: a parameter cannot be called {name!r}: every bijector has that name already")
            self._register(name, value)
        self._names = tuple(parameters)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._call(FORWARD, *self._broadcast(x, context))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        if not self.has_inverse:
            super().inverse_and_log_det(y, context)  # raises an error
        return self._call(INVERSE, *self._broadcast(y, context))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, context = self._broadcast(x, context)
        if self._functions[LOG_DET] is not None:
            y = self._call(FORWARD, x, context)
            return y, self._call(LOG_DET, x, context).expand(y.shape[: y.ndim - self.event_dim])
        if self.event_dim == 0:
            image = torch.func.jvp(lambda x: self._call(FORWARD, x, context), (x,), (torch.ones_like(x),))
            y, derivative = image[0], image[1]
            return y, derivative.abs().log()
        # One Jacobian for each point, each with its own row of the context.
        rows = None if context is None else context.reshape(-1, context.shape[-1])
        jacobian = torch.func.vmap(
            torch.func.jacrev(lambda x, row: self._call(FORWARD, x, row)), in_dims=(0, None if rows is None else 0)
        )
        log_det = torch.linalg.slogdet(jacobian(x.reshape(-1, x.shape[-1]), rows))[1]
        return self._call(FORWARD, x, context), log_det.reshape(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.inverse(y, context)
        return x, -self.forward_and_log_det(x, context)[1]

    def _broadcast(self, points: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return vectors and their context with one batch; return anything else unchanged."""
        if context is None or not self.event_dim:
            return points, context
        context = broadcast_context(points, context, self.event_dim)
        return points.expand(*context.shape[:-1], points.shape[-1]), context

    def _call(self, place: int, points: Tensor, context: Tensor | None) -> Tensor:
        """Call one of the functions with the parameters, and with the context if it takes one."""
        function = self._functions[place]
        assert function is not None
        arguments = {name: getattr(self, name) for name in self._names}
        if self._take_context[place]:
            arguments["context"] = context
        return function(points, **arguments)


def _takes_context(function: Callable[..., Tensor] | None) -> bool:
    try:
        return function is not None and "context" in inspect.signature(function).parameters
    except ValueError:  # a function written in C
        return False
