"""Autoregressive flows: MAF, IAF and autoregressive neural spline flows, by their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.flows._conditioned import ConditionedFlow

if TYPE_CHECKING:
    import torch

    from flowlab.bijectors import Bijector
    from flowlab.bijectors.maps import Map


@register("flow", "autoregressive")
@dataclass(kw_only=True)
class AutoregressiveFlow(ConditionedFlow):
    """A chain of `depth` autoregressive bijectors.

    Arguments:
        fast: the direction that takes one pass of the networks: "density" (MAF), or "samples" (IAF). The other takes at
            most one pass for each coordinate.
        reverse: reverse the order of the coordinates from layer to layer. Without it all layers together are one
            autoregressive map. With affine maps its conditionals are normal, as `objective=distillation` can use.
        depth, map, bins, bound, hidden, activation, residual, act_norm: see ConditionedFlow.

    Reference:
        | Masked Autoregressive Flow for Density Estimation (George Papamakarios, Theo Pavlakou, Iain Murray, 2017)
        | https://arxiv.org/abs/1705.07057
        | Improved Variational Inference with Inverse Autoregressive Flow (Diederik Kingma et al., 2016)
        | https://arxiv.org/abs/1606.04934
    """

    fast: str = setting("density", choices=("density", "samples"))
    reverse: bool = True

    def _layer(
        self, number: int, dim: int, context: int, map: Map, generator: torch.Generator | None
    ) -> list[Bijector]:
        from flowlab.bijectors import MaskedAutoregressive
        from flowlab.networks import MaskedMLP

        order = list(range(dim))[:: -1 if self.reverse and number % 2 else 1]
        network = MaskedMLP(dim, map.size, self.hidden, context, self.activation, self.residual, order, generator)
        if self.fast == "density":
            return [MaskedAutoregressive(network, map)]
        return [MaskedAutoregressive(network, map.inv).inv]
