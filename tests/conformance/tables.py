"""Tables for the examples: initializations, invalid arguments, contexts, exemptions."""

import math

import torch
from torch.distributions import transforms
from torch.nn.functional import leaky_relu, softplus

from flowlab.bijectors import (
    LU,
    ActNorm,
    AffineScalar,
    Amortized,
    Chain,
    ContextShift,
    Coupling,
    DiscreteCosineTransform,
    Exp,
    ExponentialCDF,
    FillTriangular,
    Householder,
    Inline,
    LowRankAffine,
    MaskedAutoregressive,
    Permute,
    Planar,
    PReLU,
    Radial,
    SmoothPReLU,
    from_transform,
)
from flowlab.bijectors.examples import DIM, EXAMPLES
from flowlab.bijectors.linear.lu import draw_rotation
from flowlab.bijectors.maps import Affine, CircularSpline, Monotone, Spline
from flowlab.networks import MLP, MaskedMLP


def identity(x):
    return x


def make_generator():
    """Return the generator that the initializations below draw from."""
    return torch.Generator().manual_seed(0)


def low_rank(x):
    factor = torch.randn(DIM, 1, generator=make_generator()).to(x.dtype)
    return x + x @ factor @ factor.mT


def planar(x):
    generator = make_generator()
    weight, direction = ((torch.randn(DIM, generator=generator) / DIM**0.5).to(x.dtype) for _ in range(2))
    product = weight @ direction
    direction = direction + (softplus(product) - 1 - product) * weight / weight.square().sum()
    return x + direction * (x @ weight).tanh()[..., None]


def move(bijector):
    """Move the parameters of a bijector that starts at the identity, and return it."""
    with torch.no_grad():
        for parameter in bijector.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=make_generator()))
    return bijector


def rotation(x):
    return x @ draw_rotation(DIM, make_generator()).to(x.dtype).mT


# name -> (the bijector before training, its documented map)
INITIAL = {
    "AffineScalar": (AffineScalar, identity),
    "LowRankAffine rank 0": (lambda: LowRankAffine(DIM), identity),
    "LowRankAffine rank 1": (lambda: LowRankAffine(DIM, 1, generator=make_generator()), low_rank),
    "LowRankAffine diag rank 0": (lambda: LowRankAffine(DIM, scale="diag"), identity),
    "PReLU": (PReLU, lambda x: leaky_relu(x, 0.25)),
    "PReLU vector abs": (lambda: PReLU(0.5, DIM, "abs"), lambda x: leaky_relu(x, 0.5)),
    "SmoothPReLU": (SmoothPReLU, lambda x: 0.625 * x + 0.375 * (x.square() + 1).sqrt()),
    "Planar random": (lambda: Planar(DIM, generator=make_generator()), planar),
    "Radial inwards": (lambda: Radial(DIM, generator=make_generator()), identity),
    "Coupling affine": (lambda: Coupling([True, False, True], map=Affine()), identity),
    "Coupling spline": (lambda: Coupling([True, True, False], map=Spline()), identity),
    "Coupling monotone": (lambda: Coupling([False, True, True], map=Monotone()), identity),
    "Coupling circular": (lambda: Coupling([True, False, True], map=CircularSpline()), identity),
    "MaskedAutoregressive affine": (lambda: MaskedAutoregressive(MaskedMLP(DIM, 2), Affine()), identity),
    "LU": (lambda: LU(DIM), identity),
    "LU rotation": (lambda: LU(DIM, "rotation", make_generator()), rotation),
    "Householder": (lambda: Householder(DIM), identity),
    "ActNorm": (lambda: ActNorm(DIM), identity),
    "ContextShift": (lambda: ContextShift(DIM, 2), identity),
    "Permute": (lambda: Permute([2, 0, 1]), lambda x: x[..., [2, 0, 1]]),
    "Chain": (lambda: Chain([]), identity),
}

WRONG_SHAPE, ZEROS = torch.ones(DIM + 1), torch.zeros(DIM)
NOT_FINITE = torch.tensor([1.0, torch.nan, 0.0])

# name -> words of the error -> the call that must raise it
INVALID = {
    "AffineScalar": {
        "scale=0.0": lambda: AffineScalar(scale=0.0),
        "scale=nan": lambda: AffineScalar(scale=math.nan),
        "scale=inf": lambda: AffineScalar(scale=math.inf),
        "scale=tensor([1., 0.])": lambda: AffineScalar(scale=torch.tensor([1.0, 0.0])),
        "shift=nan": lambda: AffineScalar(shift=math.nan),
    },
    "ExponentialCDF": {
        "rate=-1.0": lambda: ExponentialCDF(rate=-1.0),
        "rate=0.0": lambda: ExponentialCDF(rate=0.0),
        "rate=inf": lambda: ExponentialCDF(rate=math.inf),
    },
    "PReLU": {
        "slope=0.0": lambda: PReLU(slope=0.0),
        "slope=0.01 must be finite and greater than 0.01": lambda: PReLU(slope=0.01),
        "slope=inf": lambda: PReLU(slope=math.inf),
        "size=0": lambda: PReLU(size=0),
        "positive='exp' is unknown; allowed: abs, softplus": lambda: PReLU(positive="exp"),
    },
    "SmoothPReLU": {
        "slope=-1.0": lambda: SmoothPReLU(slope=-1.0),
        "smoothness=0.0": lambda: SmoothPReLU(smoothness=0.0),
        "smoothness=nan": lambda: SmoothPReLU(smoothness=math.nan),
    },
    "LowRankAffine rank 1": {
        "dim=0": lambda: LowRankAffine(0),
        "rank=4 must be from 0 to dim=3": lambda: LowRankAffine(DIM, 4),
        "rank=-1": lambda: LowRankAffine(DIM, -1),
        "scale='dense' is unknown; allowed: tril, diag": lambda: LowRankAffine(DIM, scale="dense"),
        "factor_scale=-1.0": lambda: LowRankAffine(DIM, 1, factor_scale=-1.0),
        "shift_scale=nan": lambda: LowRankAffine(DIM, 1, shift_scale=math.nan),
    },
    "Inline elementwise": {
        "event_dim=2": lambda: Inline(identity, event_dim=2),
        "'training'": lambda: Inline(lambda x, training: x, training=1.0),
    },
    "Planar": {
        "dim=0": lambda: Planar(0),
        "weight has shape (4,)": lambda: Planar(DIM, WRONG_SHAPE),
        "direction has shape ()": lambda: Planar(DIM, direction=torch.ones(())),
        "bias has shape (2,)": lambda: Planar(DIM, bias=torch.ones(2)),
        "weight=tensor([0., 0., 0.]) must not be all 0": lambda: Planar(DIM, ZEROS),
        "weight=tensor([1., nan, 0.]) must be finite": lambda: Planar(DIM, NOT_FINITE),
        "direction=tensor([1., nan, 0.]) must be finite": lambda: Planar(DIM, direction=NOT_FINITE),
        "bias=tensor(inf) must be finite": lambda: Planar(DIM, bias=torch.tensor(torch.inf)),
    },
    "Radial inwards": {
        "dim=0": lambda: Radial(0),
        "alpha=0.0": lambda: Radial(DIM, alpha=0.0),
        "beta=-2.0 must be finite and greater than -alpha=-2.0": lambda: Radial(DIM, alpha=2.0, beta=-2.0),
        "centre has shape (4,)": lambda: Radial(DIM, WRONG_SHAPE),
        "centre=tensor([1., nan, 0.]) must be finite": lambda: Radial(DIM, NOT_FINITE),
    },
    "Coupling affine": {"moves no coordinate": lambda: Coupling([False], map=Affine())},
    "MaskedAutoregressive affine": {
        "gives 3 parameters a coordinate": lambda: MaskedAutoregressive(MaskedMLP(DIM, 3), Affine()),
    },
    "LU": {
        "dim=0": lambda: LU(0),
        "initial='reflection' is unknown; allowed: identity, rotation": lambda: LU(DIM, "reflection"),
    },
    "Householder": {
        "dim=0": lambda: Householder(0),
        "reflections=0": lambda: Householder(DIM, 0),
        "reflections=3 must be even to start at the identity; use 4": lambda: Householder(DIM, 3),
        "initial='rotation' is unknown; allowed: identity, random": lambda: Householder(DIM, initial="rotation"),
    },
    "Amortized Gaussian": {
        "Exp is elementwise": lambda: Amortized(Exp(), 1),
        "DiscreteCosineTransform has no parameters": lambda: Amortized(DiscreteCosineTransform(), 1),
        "context=0": lambda: Amortized(ActNorm(DIM), 0),
    },
    "ActNorm": {"dim=0": lambda: ActNorm(0)},
    "ContextShift": {"dim=0": lambda: ContextShift(0, 1), "context=0": lambda: ContextShift(DIM, 0)},
    "Permute": {"order=[0, 0, 1]": lambda: Permute([0, 0, 1])},
    "Invert": {"Inline has no exact inverse": lambda: Inline(identity).inv},
    "Chain": {
        "got Linear": lambda: Chain([torch.nn.Linear(2, 2)]),
        "AffineScalar cannot follow FillTriangular": lambda: Chain([FillTriangular(), AffineScalar()]),
    },
    "from_transform": {
        "AbsTransform is not bijective": lambda: from_transform(transforms.AbsTransform()),
        "got Linear": lambda: from_transform(torch.nn.Linear(2, 2)),
    },
}

# name -> (a bijector that needs a context, the length of its context)
CONDITIONAL = {
    "Inline conditional": (
        lambda: Inline(
            lambda x, context, scale: scale * x * context.exp(),
            lambda y, context, scale: y / scale * (-context).exp(),
            lambda x, context, scale: scale.log() + context + 0 * x,
            scale=torch.nn.Parameter(torch.tensor(1.5)),
        ),
        1,
    ),
    "ContextShift": (lambda: move(ContextShift(DIM, 2)), 2),
    "Coupling with a context": (lambda: move(Coupling([False, True, True], MLP(1, 4, [5], 2), map=Affine())), 2),
    "MaskedAutoregressive with a context": (
        lambda: move(MaskedAutoregressive(MaskedMLP(DIM, 8, [5], 2, "tanh"), Spline(bins=3))),
        2,
    ),
    "Amortized planar layers": (lambda: move(Amortized(Chain([Planar(DIM), Planar(DIM)]), 2)), 2),
    "Amortized Gaussian": (lambda: move(Amortized(LU(DIM), 1)), 1),
}

NAMES = [*EXAMPLES, *CONDITIONAL]

# (name, property) -> why it may fail
EXEMPT = {
    ("from_transform composed", "finite"): "torch's own transforms lose their gradients where a softplus underflows",
}
