"""The maps of flowlab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowlab.config.registry import register

if TYPE_CHECKING:
    from flowlab.bijectors.maps import Map
    from flowlab.flows._conditioned import ConditionedFlow


@register("map", "additive")
def additive(flow: ConditionedFlow) -> Map:
    from flowlab.bijectors.maps import Additive

    return Additive()


@register("map", "affine")
def affine(flow: ConditionedFlow) -> Map:
    from flowlab.bijectors.maps import Affine

    return Affine()


@register("map", "spline")
def spline(flow: ConditionedFlow) -> Map:
    from flowlab.bijectors.maps import Spline

    # A density is what training computes, so it takes the direction that costs less.
    return Spline(flow.bins, flow.bound).inv


@register("map", "monotone")
def monotone(flow: ConditionedFlow) -> Map:
    from flowlab.bijectors.maps import Monotone

    return Monotone(flow.bins, flow.bound).inv


@register("map", "circular")
def circular(flow: ConditionedFlow) -> Map:
    from flowlab.bijectors.maps import CircularSpline

    return CircularSpline(flow.bins, flow.bound).inv


@register("map", "smooth_prelu")
def smooth_prelu(flow: ConditionedFlow) -> Map:
    """A kink at a learned place, with a learned slope on each side."""
    import torch
    from torch import nn

    from flowlab.bijectors import AffineScalar, Chain, SmoothPReLU
    from flowlab.bijectors.maps import Elementwise

    def shift() -> AffineScalar:
        return AffineScalar(shift=nn.Parameter(torch.tensor(0.0)))

    flip = AffineScalar(scale=-1.0)
    return Elementwise(Chain([shift(), SmoothPReLU(1.0), flip, SmoothPReLU(1.0), flip, shift()]))
