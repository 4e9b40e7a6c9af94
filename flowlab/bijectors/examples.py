"""Examples of every bijector, which the tests loop over: one more line here tests a new bijector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.distributions import transforms

from flowlab.bijectors.activations import PReLU, SmoothPReLU
from flowlab.bijectors.autoregressive import MaskedAutoregressive
from flowlab.bijectors.base import Bijector
from flowlab.bijectors.blocks import Blocks
from flowlab.bijectors.compose import Chain, Invert
from flowlab.bijectors.coupling import Coupling
from flowlab.bijectors.elementwise import AffineScalar, Exp, ExponentialCDF, NormalCDF, Sigmoid, Softplus, Tanh
from flowlab.bijectors.inline import Inline
from flowlab.bijectors.linear.act_norm import ActNorm
from flowlab.bijectors.linear.fixed import DiscreteCosineTransform, FillTriangular
from flowlab.bijectors.linear.householder import Householder
from flowlab.bijectors.linear.low_rank_affine import LowRankAffine
from flowlab.bijectors.linear.lu import LU
from flowlab.bijectors.linear.permute import Permute
from flowlab.bijectors.maps import Additive, Affine, CircularSpline, Elementwise, Map, Monotone, Spline
from flowlab.bijectors.planar_radial import Planar, Radial
from flowlab.bijectors.simplex import SoftmaxCentered
from flowlab.bijectors.torch_adapters import from_transform, to_transform
from flowlab.networks import MLP, MaskedMLP

DIM = 3  # the length of the vectors that every example accepts


def _learned(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values) if len(values) > 1 else torch.tensor(values[0]))


def _affine(rank: int, scale: str = "tril", weighted: bool = False) -> LowRankAffine:
    generator = torch.Generator().manual_seed(rank)
    affine = LowRankAffine(DIM, rank, scale, weighted, factor_scale=0.5, shift_scale=0.5, generator=generator)
    with torch.no_grad():  # away from the identity, which hides many mistakes
        affine.scale.add_(0.3 * torch.randn(affine.scale.shape, generator=generator))
    return affine


def _perturbed(bijector: Bijector, seed: int = 0) -> Bijector:
    """Move the parameters of a bijector that starts at the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in bijector.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return bijector


def _draws() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _coupling(map: Map, *mask: bool) -> Bijector:
    return _perturbed(
        Coupling(mask, MLP(DIM - sum(mask), sum(mask) * map.size, [8], activation="tanh", generator=_draws()), map=map)
    )


def _autoregressive(map: Map, *order: int) -> Bijector:
    network = MaskedMLP(
        DIM, map.size, [8, 8], activation="tanh", residual=True, order=order or None, generator=_draws()
    )
    return _perturbed(MaskedAutoregressive(network, map))


EXAMPLES: dict[str, Callable[[], Bijector]] = {
    "AffineScalar": lambda: AffineScalar(shift=0.5, scale=-2.0),
    "AffineScalar learned": lambda: AffineScalar(_learned(0.5, 0.0, -1.0), _learned(2.0, 0.5, -1.5)),
    "Exp": Exp,
    "ExponentialCDF": lambda: ExponentialCDF(rate=0.25),
    "ExponentialCDF learned": lambda: ExponentialCDF(rate=_learned(0.1, 0.2, 0.4)),
    "NormalCDF": NormalCDF,
    "PReLU": lambda: PReLU(slope=0.3),
    "PReLU vector abs": lambda: PReLU(slope=1.7, size=DIM, positive="abs"),
    "Sigmoid": Sigmoid,
    "SmoothPReLU": lambda: SmoothPReLU(slope=0.3),
    "SmoothPReLU vector abs": lambda: SmoothPReLU(slope=1.7, size=DIM, positive="abs", smoothness=_learned(0.5)),
    "Softplus": Softplus,
    "Tanh": Tanh,
    "LowRankAffine rank 0": lambda: _affine(0),
    "LowRankAffine rank 1": lambda: _affine(1, weighted=True),
    "LowRankAffine rank 3": lambda: _affine(3),
    "LowRankAffine diag rank 0": lambda: _affine(0, "diag"),
    "LowRankAffine diag rank 2": lambda: _affine(2, "diag", weighted=True),
    "Inline elementwise": lambda: Inline(
        lambda x, scale: scale * torch.sinh(x), lambda y, scale: torch.asinh(y / scale), sign=+1, scale=_learned(1.5)
    ),
    "Inline vector": lambda: Inline(
        lambda x: torch.cumsum(torch.sinh(x), -1),
        lambda y: torch.asinh(torch.diff(y, dim=-1, prepend=torch.zeros_like(y[..., :1]))),
        event_dim=1,
    ),
    "DiscreteCosineTransform": DiscreteCosineTransform,
    "SoftmaxCentered": SoftmaxCentered,
    "FillTriangular": FillTriangular,
    "Planar": lambda: Planar(DIM, _learned(1.0, -2.0, 0.5), _learned(-1.0, 0.5, 0.3), _learned(0.4)),
    "Planar constant": lambda: Planar(DIM, torch.tensor([0.5, 1.0, -0.5]), torch.tensor([1.0, 2.0, 0.3]), -0.4),
    "Planar random": lambda: Planar(DIM, generator=torch.Generator().manual_seed(0)),
    "Radial inwards": lambda: Radial(DIM, _learned(0.5, -0.5, 1.0), alpha=1.5, beta=-1.2),
    "Radial outwards": lambda: Radial(DIM, torch.tensor([0.5, 0.0, -1.0]), alpha=0.7, beta=3.0),
    "Coupling additive": lambda: _coupling(Additive(), False, True, True),
    "Coupling affine": lambda: _coupling(Affine(), True, False, True),
    "Coupling spline": lambda: _coupling(Spline(bins=4), True, True, False),
    "Coupling spline inverse": lambda: _coupling(Spline().inv, False, True, False),
    "Coupling monotone": lambda: _coupling(Monotone(bins=3), False, True, True),
    "Coupling circular": lambda: _coupling(CircularSpline(bins=3), True, False, True),
    "Coupling SmoothPReLU": lambda: _coupling(Elementwise(SmoothPReLU(slope=1.0)), False, True, True),
    "MaskedAutoregressive affine": lambda: _autoregressive(Affine()),
    "MaskedAutoregressive spline": lambda: _autoregressive(Spline(bins=4), 2, 0, 1),
    "MaskedAutoregressive monotone": lambda: _autoregressive(Monotone(bins=2), 1, 2, 0),
    "IAF": lambda: _autoregressive(Affine().inv, 2, 1, 0).inv,
    "LU": lambda: _perturbed(LU(DIM)),
    "LU rotation": lambda: _perturbed(LU(DIM, "rotation", _draws())),
    "Householder": lambda: _perturbed(Householder(DIM, generator=_draws())),
    "Householder random": lambda: Householder(DIM, 2, "random", _draws()),
    "ActNorm": lambda: _perturbed(ActNorm(DIM)),
    "Permute": lambda: Permute([2, 0, 1]),
    "Blocks": lambda: Blocks([Sigmoid(), _perturbed(LU(2))], [1, 2]),
    "Invert": lambda: Invert(SmoothPReLU(slope=0.3)),
    "Chain": lambda: Chain([_affine(2), SmoothPReLU(slope=0.3), AffineScalar(scale=2.0), Tanh()]),
    "Chain with Invert": lambda: AffineScalar(shift=-0.5, scale=-0.7) | Sigmoid() | NormalCDF().inv,
    "Invert SoftmaxCentered": lambda: Invert(SoftmaxCentered()),
    "Invert FillTriangular": lambda: Invert(FillTriangular()),
    "Chain to a simplex": lambda: AffineScalar(shift=0.5, scale=0.7) | SoftmaxCentered(),
    "Chain from a simplex": lambda: SoftmaxCentered().inv | AffineScalar(shift=0.5, scale=-0.7),
    "Chain to a triangle": lambda: AffineScalar(scale=1.5) | Tanh() | FillTriangular(),
    "Chain from a triangle": lambda: FillTriangular().inv | _affine(2) | Exp(),
    "Chain through a triangle": lambda: Tanh() | FillTriangular() | FillTriangular().inv | SoftmaxCentered(),
    "from_transform": lambda: from_transform(transforms.AffineTransform(_learned(0.5), _learned(1.5, 2.0, -0.5))),
    "from_transform composed": lambda: from_transform(
        transforms.ComposeTransform([transforms.SoftplusTransform(), transforms.PowerTransform(torch.tensor(0.5))])
    ),
    "from_transform to a simplex": lambda: from_transform(transforms.StickBreakingTransform()),
    "from_transform joined": lambda: from_transform(
        transforms.CatTransform(
            [transforms.SigmoidTransform(), transforms.AffineTransform(_learned(0.5), 2.0)], dim=-1, lengths=[1, 2]
        )
    ),
    "from_transform stacked": lambda: from_transform(
        transforms.StackTransform(
            [transforms.ExpTransform(), transforms.TanhTransform(), to_transform(PReLU())], dim=-1
        )
    ),
}
