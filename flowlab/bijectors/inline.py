"""A bijector from functions, its log det derived by automatic differentiation where none is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowlab.bijectors.base import Bijector


class Inline(Bijector):
    r"""A bijector written in place: forward y = forward(x), inverse x = inverse(y), log det log |det dy/dx|.

    Arguments:
        forward: y from x, both of shape (*, event).
        inverse: x from y; without it the bijector samples but cannot score given points.
        log_det: log |det dy/dx| at x in nats, of the shape of x without its last `event_dim` dimensions. Without it, it
            is derived by automatic differentiation: one forward-mode product for an elementwise map, the Jacobian
            of each point for a map of vectors.
        event_dim: 0 for an elementwise map, 1 for a map of vectors.
        domain, codomain, sign, constant_log_det: as declared by every bijector.
        parameters: tensors that the functions take as keyword arguments. A number or a plain tensor is a constant; an
            `nn.Parameter` is learned, and moves and saves with the bijector. A context, where one is given, is handed
            on as the keyword `context`.

    Raises:
        ValueError: an event_dim that is not 0 or 1, or a parameter whose name a bijector uses itself.

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
    """

    def __init__(
        self,
        forward: Callable[..., Tensor],
        inverse: Callable[..., Tensor] | None = None,
        log_det: Callable[..., Tensor] | None = None,
        *,
        event_dim: int = 0,
        domain: Constraint = constraints.real,
        codomain: Constraint = constraints.real,
        sign: int = 0,
        constant_log_det: bool = False,
        **parameters: Any,
    ) -> None:
        super().__init__()
        if event_dim not in (0, 1):
            raise ValueError(f"Inline: event_dim={event_dim!r} must be 0 (elementwise) or 1 (vectors)")
        self._functions = (forward, inverse, log_det)
        self.event_dim, self.domain, self.codomain = event_dim, domain, codomain
        self.sign, self.constant_log_det, self.has_inverse = sign, constant_log_det, inverse is not None
        for name, value in parameters.items():
            if hasattr(self, name):
                raise ValueError(f"Inline: a parameter cannot be called {name!r}: every bijector has that name already")
            self._hold(name, value)
        self._names = tuple(parameters)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._functions[0](x, **self._arguments(context))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        inverse = self._functions[1]
        return super().inverse(y, context) if inverse is None else inverse(y, **self._arguments(context))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        forward, _, log_det = self._functions
        arguments = self._arguments(context)
        if log_det is not None:
            y = forward(x, **arguments)
            return y, log_det(x, **arguments).expand(y.shape[: y.ndim - self.event_dim])
        if self.event_dim == 0:
            image = torch.func.jvp(lambda x: forward(x, **arguments), (x,), (torch.ones_like(x),))
            y, derivative = image[0], image[1]
            return y, derivative.abs().log()
        # One Jacobian for each point, each with its own row of the context.
        rows = {"context": context.reshape(-1, context.shape[-1])} if context is not None else {}
        held = {name: value for name, value in arguments.items() if name != "context"}
        jacobian = torch.func.vmap(torch.func.jacrev(lambda x, rows: forward(x, **held, **rows)))
        log_det = torch.linalg.slogdet(jacobian(x.reshape(-1, x.shape[-1]), rows))[1]
        return forward(x, **arguments), log_det.reshape(x.shape[:-1])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not self.has_inverse:
            return super().inverse_and_log_det(y, context)
        x = self.inverse(y, context)
        return x, -self.forward_and_log_det(x, context)[1]

    def _arguments(self, context: Tensor | None) -> dict[str, Tensor]:
        arguments = {name: getattr(self, name) for name in self._names}
        return arguments if context is None else {**arguments, "context": context}
