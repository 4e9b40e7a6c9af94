"""Bijectors whose coordinates are affine one after another: a normal base gives them normal conditionals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowlab.bijectors.autoregressive import MaskedAutoregressive
from flowlab.bijectors.base import Bijector
from flowlab.bijectors.compose import Invert, stages


class AffineCoordinates:
    r"""y_i = m_i(x_<i) + s_i(x_<i) x_i in one order of the coordinates, with the shift and the scale of each.

    If x is standard normal, y_i given the coordinates before it is normal with mean m_i and standard deviation |s_i|.
    Layers in one order compose to such a map: the scales multiply. The coordinates before i may be given as x_<i or as
    y_<i, which determine each other.

    Arguments:
        bijector: autoregressive bijectors with affine maps, in either direction, and affine elementwise maps.

    Attributes:
        order: the place of each coordinate; None where any order will do.

    Raises:
        ValueError: the bijector has no such form; the message says why.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import AffineScalar
        >>> from flowlab.objectives._conditionals import AffineCoordinates
        >>> y, mean, log_scale = AffineCoordinates(AffineScalar(1.0, scale=2.0)).forward(torch.ones(1, 2))
        >>> y, mean, log_scale
        (tensor([[3., 3.]]), tensor([[1., 1.]]), tensor([[0.6931, 0.6931]]))
    """

    def __init__(self, bijector: Bijector) -> None:
        self.parts, self.order = stages(bijector), None
        for number, part in enumerate(self.parts, 1):
            inner, order = _inner(part), _order_of(part)
            if order is None:
                raise ValueError(f"layer {number}, {part.layer_name}, is not affine in each coordinate")
            if isinstance(inner, MaskedAutoregressive):
                if self.order not in (None, list(order)):
                    raise ValueError(f"layer {number} takes the coordinates in a different order than those before it")
                self.order = list(order)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """y, and m_i and log |s_i| of every coordinate, each of shape (*, d)."""
        y, log_scale, sign = x, torch.zeros_like(x), torch.ones_like(x)
        for part in self.parts:
            y, log_dets, own = _log_dets(part, y, context, inverse=False)
            log_scale, sign = log_scale + log_dets, sign * own
        return y, y - sign * log_scale.exp() * x, log_scale

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """x, and m_i and log |s_i| of every coordinate, each of shape (*, d)."""
        x, log_scale, sign = y, torch.zeros_like(y), torch.ones_like(y)
        for part in reversed(self.parts):
            x, log_dets, own = _log_dets(part, x, context, inverse=True)
            log_scale, sign = log_scale - log_dets, sign * own
        return x, y - sign * log_scale.exp() * x, log_scale


def _inner(part: Bijector) -> Bijector:
    return part.bijector if isinstance(part, Invert) else part


def _order_of(part: Bijector) -> Sequence[int] | None:
    """The order of a layer, () for any order, or None if it is not affine in each coordinate."""
    if isinstance(inner := _inner(part), MaskedAutoregressive):
        return inner.affine_order
    return () if part.affine and part.event_dim == part.image_event_dim == 0 else None


def _log_dets(
    part: Bijector, points: Tensor, context: Tensor | None, inverse: bool
) -> tuple[Tensor, Tensor, int | Tensor]:
    """The image or pre-image of points under a layer, and the log det and the sign of the slope of each coordinate."""
    inner = _inner(part)
    if isinstance(inner, MaskedAutoregressive):
        to_base = inverse != isinstance(part, Invert)
        return *(inner.inverse_and_log_dets if to_base else inner.forward_and_log_dets)(points, context), 1
    result, log_det = (part.inverse_and_log_det if inverse else part.forward_and_log_det)(points, context)
    return result, log_det.expand_as(result), part.sign
