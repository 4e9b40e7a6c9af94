"""Parts of coupling and autoregressive flows: the map of a coordinate, and the network that gives its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.registry import lookup
from flowlab.flows.base import Architecture

if TYPE_CHECKING:
    import torch

    from flowlab.bijectors import Bijector
    from flowlab.bijectors.maps import Map
    from flowlab.flow import Flow
    from flowlab.targets.base import Batch

ACTIVATIONS = ("relu", "elu", "gelu", "silu", "tanh")


@dataclass(kw_only=True)
class ConditionedFlow(Architecture):
    """Layers whose networks give the parameters of a map; they start at the identity.

    Arguments:
        depth: the number of layers.
        map: the function of a coordinate: additive, affine, spline (rational quadratic), monotone (smooth), circular
            (a spline for angles), smooth_prelu, or one that is registered.
        bins, bound: the bins of a spline and half the width of its box. For circular, bound is half a period. For
            monotone they are the number of steps of its slope, and half the width over which the steps are spread.
            Other maps ignore them.
        hidden: the sizes of a network's hidden layers.
        activation: the networks' nonlinearity.
        residual: networks with skip connections.
        act_norm: a learned shift and scale of each coordinate after every layer, initialized from data.
    """

    vectors_only = True

    depth: int = setting(8, minimum=1, maximum=1000)
    map: str = setting("spline")
    bins: int = setting(8, minimum=2)
    bound: float = setting(5.0, above=0)
    hidden: list[int] = setting([64, 64], minimum=1)
    activation: str = setting("relu", choices=ACTIVATIONS)
    residual: bool = False
    act_norm: bool = False

    def __post_init__(self) -> None:
        lookup("map", self.map, "flow.map")

    def build(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None = None,
        generator: torch.Generator | None = None,
    ) -> Flow:
        from flowlab.bijectors import ActNorm, Chain
        from flowlab.distributions.base import StandardNormal
        from flowlab.flow import Flow

        (dim,) = event_shape
        map, parts = lookup("map", self.map)(self), list["Bijector"]()
        for number in range(self.depth):
            parts += self._layer(number, dim, context_shape[0] if context_shape else 0, map, generator)
            parts += [ActNorm(dim)] if self.act_norm else []
        return Flow(StandardNormal(dim), Chain(parts))

    def _layer(
        self, number: int, dim: int, context: int, map: Map, generator: torch.Generator | None
    ) -> list[Bijector]:
        """The bijectors of a layer, for points of `dim` coordinates and contexts of length `context`."""
        raise NotImplementedError(f"{type(self).__name__} must define _layer")

    @property
    def initialized_from_data(self) -> bool:
        return self.act_norm

    def initialize(self, flow: Flow, data: Batch, generator: torch.Generator | None = None) -> None:
        from flowlab.bijectors import ActNorm, stages

        x = data.x
        for stage in reversed(stages(flow.bijector)):
            if isinstance(stage, ActNorm):
                stage.initialize(x)
            x = stage.inverse(x, data.context).detach()
