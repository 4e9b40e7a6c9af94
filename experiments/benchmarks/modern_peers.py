"""Coupling and autoregressive flows of zuko, nflows and normflows: eight layers, one hidden layer of 50, 8 bins.

The masked networks of nflows and normflows have a hidden block more: they have no smaller one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LAYERS, HIDDEN, BINS, BOUND = 8, 50, 8, 5.0


def zuko(kind: str, map: str, dim: int) -> nn.Module:
    from zuko.flows import MAF, NSF

    passes = 2 if kind == "coupling" else None
    if map == "spline":
        return NSF(dim, bins=BINS, transforms=LAYERS, hidden_features=[HIDDEN], passes=passes)
    return MAF(dim, transforms=LAYERS, hidden_features=[HIDDEN], passes=passes)


class Network(nn.Sequential):
    """The conditioner of a coupling of nflows, which passes a context."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(x)


def nflows(kind: str, map: str, dim: int) -> nn.Module:
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import (
        AffineCouplingTransform,
        CompositeTransform,
        MaskedAffineAutoregressiveTransform,
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        PiecewiseRationalQuadraticCouplingTransform,
        ReversePermutation,
    )

    spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
    network = {"hidden_features": HIDDEN, "num_blocks": 1, "use_residual_blocks": False}
    layers: list[nn.Module] = []
    for number in range(LAYERS):
        if kind == "coupling":
            mask = torch.tensor([1 if (place < dim // 2) == (number % 2 == 0) else -1 for place in range(dim)])
            made = PiecewiseRationalQuadraticCouplingTransform if map == "spline" else AffineCouplingTransform
            layers.append(made(mask, Network, **(spline if map == "spline" else {})))
        else:
            layers.append(ReversePermutation(dim))
            if map == "spline":
                layers.append(MaskedPiecewiseRationalQuadraticAutoregressiveTransform(dim, **network, **spline))
            else:
                layers.append(MaskedAffineAutoregressiveTransform(dim, **network))
    return Flow(CompositeTransform(layers), StandardNormal([dim]))


def normflows(kind: str, map: str, dim: int) -> nn.Module:
    import normflows as nf

    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        if map == "spline":
            names = {
                "coupling": "CoupledRationalQuadraticSpline",
                "autoregressive": "AutoregressiveRationalQuadraticSpline",
            }
            layers.append(getattr(nf.flows, names[kind])(dim, 1, HIDDEN, num_bins=BINS, tail_bound=BOUND))
        elif kind == "coupling":
            kept = (dim + 1) // 2
            layers.append(nf.flows.AffineCouplingBlock(nf.nets.MLP([kept, HIDDEN, 2 * (dim - kept)], init_zeros=True)))
        else:
            layers.append(nf.flows.MaskedAffineAutoregressive(dim, HIDDEN, num_blocks=1, use_residual_blocks=False))
        layers.append(nf.flows.Permute(dim, mode="swap"))
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)


PEERS = {"zuko": zuko, "nflows": nflows, "normflows": normflows}


def log_prob(flow: Any, points: Tensor) -> Tensor:
    """The log density of points; zuko's flows are called for a distribution."""
    return flow.log_prob(points) if hasattr(flow, "log_prob") else flow().log_prob(points)
