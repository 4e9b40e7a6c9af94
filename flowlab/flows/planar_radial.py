"""Planar and radial flows: chains of the layers of Rezende and Mohamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.flows.base import Architecture

if TYPE_CHECKING:
    import torch

    from flowlab.bijectors import Bijector
    from flowlab.flow import Flow

ZERO_EFFECT = 0.5413248546129181  # softplus of this is 1, so a planar layer with w.u = this moves nothing


@register("flow", "planar_radial")
@dataclass(kw_only=True)
class PlanarRadialFlow(Architecture):
    """A chain of `depth` planar or radial layers, which start at the identity; they take no context.

    The planes have random directions at a random distance from 0; the centres of radial layers are drawn from N(0, I).

    Arguments:
        depth: the number of layers.
        kind: planar or radial layers.
        fast: the direction that a planar layer computes in closed form: "density", or "samples", as in the paper. The
            other direction takes about 60 evaluations of a tanh. For radial layers both are in closed form.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
    """

    vectors_only = True
    takes_context = False

    depth: int = setting(16, minimum=1, maximum=1000)
    kind: str = setting("planar", choices=("planar", "radial"))
    fast: str = setting("density", choices=("density", "samples"))

    def build(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None = None,
        generator: torch.Generator | None = None,
    ) -> Flow:
        from flowlab.bijectors import Chain, Radial
        from flowlab.distributions.base import StandardNormal
        from flowlab.flow import Flow

        (dim,) = event_shape
        parts: list[Bijector] = [
            Radial(dim, generator=generator) if self.kind == "radial" else _planar(dim, generator)
            for _ in range(self.depth)
        ]
        chain = Chain(parts)
        return Flow(StandardNormal(dim), chain.inv if self.fast == "density" else chain)


def _planar(dim: int, generator: torch.Generator | None) -> Bijector:
    """A planar layer that is the identity, with a random plane."""
    import torch
    from torch import nn

    from flowlab.bijectors import Planar

    weight = torch.empty(dim).normal_(generator=generator)
    weight = weight / torch.linalg.vector_norm(weight)
    bias = torch.empty(()).normal_(generator=generator)
    return Planar(dim, nn.Parameter(weight), nn.Parameter(ZERO_EFFECT * weight), nn.Parameter(bias))
