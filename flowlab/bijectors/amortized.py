"""A bijector of any kind whose parameters a context changes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from flowlab.bijectors.base import Bijector


class Amortized(Bijector):
    r"""y = f(x; theta + W c): a bijector whose parameters are an affine function of the context c.

    forward  y = f(x; theta + W c)         log det  the log det of f at these parameters
    inverse  x = f^-1(y; theta + W c)      log det  minus the forward one at x

    It conditions bijectors that take no context themselves, such as planar layers. Around ActNorm it gives a diagonal
    Gaussian posterior of a variational autoencoder, around LU one with a full covariance. W starts at zero, so every
    context starts with the parameters theta, which are the bijector's own. A nonlinear dependence on data belongs into
    the network that makes the context. Without a context it is the bijector itself.

    Arguments:
        bijector: f, a map of vectors. Its frozen parameters and buffers stay as they are for every context.
        context: the length of c.

    Raises:
        ValueError: the bijector is elementwise or has no parameters to change, or the length is below 1.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770

    Example:
        >>> import torch
        >>> from flowlab.bijectors import ActNorm, Amortized
        >>> gaussian = Amortized(ActNorm(1), context=1)  # rows of W: log scale and shift
        >>> _ = gaussian.weight.data.copy_(torch.tensor([[0.0], [2.0]]))
        >>> gaussian(torch.tensor([[0.5]]), torch.tensor([[1.0], [10.0]])).detach().T  # shifts of 2 and 20
        tensor([[ 2.5000, 20.5000]])
    """

    def __init__(self, bijector: Bijector, context: int) -> None:
        super().__init__()
        name = type(bijector).__name__
        if not bijector.event_dim or not bijector.image_event_dim:
            raise ValueError(f"Amortized: {name} is elementwise and must be a map of vectors, such as ActNorm(dim)")
        trained = [parameter for parameter in bijector.parameters() if parameter.requires_grad]
        if not trained:
            raise ValueError(f"Amortized: {name} has no parameters that a context could change")
        if context < 1:
            raise ValueError(f"Amortized: context={context!r} must be at least 1")
        self.bijector, self.context = bijector, context
        self.event_dim, self.event_shape = bijector.event_dim, bijector.event_shape
        self.domain, self.codomain, self.onto = bijector.domain, bijector.codomain, bijector.onto
        self.has_inverse = bijector.has_inverse
        self.forward_passes, self.inverse_passes = bijector.forward_passes, bijector.inverse_passes
        self.names = [name for name, parameter in bijector.named_parameters() if parameter.requires_grad]
        self.counts = [parameter.numel() for parameter in trained]
        self.weight = nn.Parameter(trained[0].new_zeros(sum(self.counts), context))
        self._call: _Call
        vars(self)["_call"] = _Call(bijector)  # not a submodule, or every parameter would have two names

    @property
    def image_event_dim(self) -> int:
        return self.bijector.image_event_dim

    @property
    def image_event_shape(self) -> tuple[int, ...] | None:
        return self.bijector.image_event_shape

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return self.bijector.forward_shape(shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return self.bijector.inverse_shape(shape)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._apply_for("unchecked_forward_and_log_det", x, context, self.event_dim)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._apply_for("unchecked_inverse_and_log_det", y, context, self.image_event_dim)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.bijector.reset_parameters(generator)
        nn.init.zeros_(self.weight)

    @property
    def layer_name(self) -> str:
        return f"Amortized {self.bijector.layer_name}"

    def weight_of(self, name: str) -> Tensor:
        """The rows of W that change the parameter of this name: a view of shape (numel, context)."""
        return self.weight.split(self.counts)[self.names.index(name)]

    def _apply_for(self, method: str, points: Tensor, context: Tensor | None, event_dim: int) -> tuple[Tensor, Tensor]:
        if context is None:
            moved, log_det = getattr(self.bijector, method)(points)
            return moved, log_det
        if context.shape[-1] != self.context:
            raise ValueError(
                f"Amortized: the context has shape {tuple(context.shape)}; its last dimension must be {self.context}"
            )
        changes = nn.functional.linear(context, self.weight)
        if changes.ndim == 1:
            return self._call_with(changes, method, points)
        # The parameters of a context are made once for all its points, which are in the dimensions before it.
        event = points.shape[points.ndim - event_dim :]
        batch = torch.broadcast_shapes(points.shape[: points.ndim - event_dim], changes.shape[:-1])
        split = len(batch) - (changes.ndim - 1)
        lead, own = batch[:split], batch[split:]
        points, count = points.expand(batch + event), math.prod(own)
        changes = changes.expand(*own, -1).reshape(count, changes.shape[-1])
        if not count:  # vmap takes no empty batch
            return self._call_with(changes.sum(0), method, points)
        rows = points.reshape(*lead, count, *event)
        each: Callable[..., tuple[Tensor, Tensor]] = vmap(self._call_with, (0, None, split), split)
        moved, log_det = each(changes, method, rows)
        return moved.reshape(batch + moved.shape[split + 1 :]), log_det.reshape(batch)

    def _call_with(self, changes: Tensor, method: str, points: Tensor) -> tuple[Tensor, Tensor]:
        """The method of the bijector, with changes of shape (n,) added to its parameters."""
        own = dict(self.bijector.named_parameters())
        parts = changes.split(self.counts)
        changed = {
            f"bijector.{name}": own[name] + part.view(own[name].shape)
            for name, part in zip(self.names, parts, strict=True)
        }
        moved, log_det = functional_call(self._call, changed, (method, points))
        return moved, log_det


class _Call(nn.Module):
    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        self.bijector = bijector

    def forward(self, method: str, points: Tensor) -> tuple[Tensor, Tensor]:
        moved, log_det = getattr(self.bijector, method)(points)
        batch = moved.shape[: moved.ndim - self.bijector.image_event_dim]
        return moved, log_det.expand(batch)
