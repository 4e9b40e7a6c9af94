"""Coupling flows: NICE, RealNVP, Glow and neural spline flows, by their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.flows._conditioned import ConditionedFlow

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from flowlab.bijectors import Bijector
    from flowlab.bijectors.maps import Map


@register("flow", "coupling")
@dataclass(kw_only=True)
class CouplingFlow(ConditionedFlow):
    """A chain of `depth` couplings: one half of the coordinates gives the parameters of the map of the other half.

    The halves change their roles from layer to layer. A single coordinate has a map whose parameters depend on the
    context alone.

    Arguments:
        mixing: how coordinates mix from layer to layer. The halves always alternate. Besides, each layer may end with a
            random permutation ("permute"). Or it ends with a learned linear map, which starts at the identity ("lu") or
            at a random rotation ("rotation"). Or with a learned orthogonal map, which starts at the identity
            ("householder").
        depth, map, bins, bound, hidden, activation, residual, act_norm: see ConditionedFlow.

    Reference:
        | Density estimation using Real NVP (Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio, 2016)
        | https://arxiv.org/abs/1605.08803
        | Neural Spline Flows (Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032
    """

    mixing: str = setting("alternate", choices=("alternate", "permute", "lu", "rotation", "householder"))

    def _layer(
        self, number: int, dim: int, context: int, map: Map, generator: torch.Generator | None
    ) -> list[Bijector]:
        from flowlab.bijectors import LU, Coupling, Householder, Permute
        from flowlab.networks import MLP

        mask = [(place < dim // 2) == (number % 2 == 0) for place in range(dim)] if dim > 1 else [True]
        sizes = dim - sum(mask), sum(mask) * map.size
        network = MLP(*sizes, self.hidden, context, self.activation, self.residual, generator)
        mixing: dict[str, Callable[[], list[Bijector]]] = {
            "alternate": list,
            "permute": lambda: [Permute.random(dim, generator)],
            # The inverse of a LU is the product, which is what a density needs.
            "lu": lambda: [LU(dim).inv],
            "rotation": lambda: [LU(dim, "rotation", generator).inv],
            "householder": lambda: [Householder(dim, generator=generator)],
        }
        return [Coupling(mask, network, map=map), *mixing[self.mixing]()]
