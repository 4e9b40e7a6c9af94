"""Any elementwise bijector as a map."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.maps.base import Map


class Elementwise(Map):
    r"""y = f(x; raw + parameters): an elementwise bijector whose raw parameters a network changes.

    With parameters 0 it is the bijector as given; to start a flow at the identity, give one that is the identity, such
    as `SmoothPReLU(slope=1.0)`. A chain of elementwise bijectors is one too. The parameters are in the order of
    `bijector.named_parameters()`.

    Arguments:
        bijector: an increasing elementwise bijector whose parameters are single numbers; it is copied.

    Raises:
        ValueError: the bijector is not elementwise and increasing, has no inverse, or has no parameters or some that
            are not single numbers.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import SmoothPReLU
        >>> from flowlab.bijectors.maps import Elementwise
        >>> bend = Elementwise(SmoothPReLU(slope=1.0))
        >>> bend.forward_and_log_det(torch.tensor([-2.0, 2.0]), torch.tensor([[0.0], [0.0]]))[0]
        tensor([-2.,  2.])
    """

    def __init__(self, bijector: Bijector) -> None:
        name = type(bijector).__name__
        if bijector.event_dim or bijector.image_event_dim or not bijector.has_inverse:
            raise ValueError(f"Elementwise: {name} must be elementwise and have an inverse, as SmoothPReLU(slope=1.0)")
        raw = dict(bijector.named_parameters())
        shapes = {tuple(value.shape) for value in raw.values()}
        if shapes != {()}:
            raise ValueError(
                f"Elementwise: the parameters of {name} have shapes {sorted(shapes)}; it needs some, and each must be "
                "one number, of shape ()"
            )
        if not torch.as_tensor(bijector.sign).is_meta and not bool(torch.as_tensor(bijector.sign) > 0):
            raise ValueError(f"Elementwise: {name} must be increasing; chain it with AffineScalar(scale=-1.0)")
        self.bijector = copy.deepcopy(bijector).float().requires_grad_(False)
        self.domain, self.codomain = bijector.domain, bijector.codomain
        self.size, self._call = len(raw), _Call(self.bijector)

    def forward_and_log_det(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._apply("forward_and_log_det", x, parameters)

    def inverse_and_log_det(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self._apply("inverse_and_log_det", y, parameters)

    def _apply(self, method: str, points: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        start = self._call.named_parameters()
        raw = {name: value + added for (name, value), added in zip(start, parameters.unbind(-1), strict=True)}
        moved, log_det = functional_call(self._call, raw, (f"unchecked_{method}", points))
        return moved, log_det.expand_as(moved)

    def __repr__(self) -> str:
        return f"Elementwise({self.bijector!r})"


class _Call(nn.Module):
    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        self.bijector = bijector

    def forward(self, method: str, points: Tensor) -> tuple[Tensor, Tensor]:
        return getattr(self.bijector, method)(points)
