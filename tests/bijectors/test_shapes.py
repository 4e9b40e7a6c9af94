"""The points before a map lie in its domain, or the map is refused where a chain or a flow is built."""

import pytest
import torch
from torch import nn
from torch.distributions import (
    Beta,
    Categorical,
    Dirichlet,
    Exponential,
    Gamma,
    Gumbel,
    HalfNormal,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Poisson,
    TransformedDistribution,
    Uniform,
    transforms,
)

from flowlab import Flow, StandardNormal
from flowlab.bijectors import (
    AffineScalar,
    Chain,
    Exp,
    ExponentialCDF,
    FillTriangular,
    Inline,
    LowRankAffine,
    NormalCDF,
    Sigmoid,
    SmoothPReLU,
    SoftmaxCentered,
    Softplus,
    Tanh,
    from_transform,
)

LOG = Exp().inv
ones, zeros = torch.ones, torch.zeros


def learned(value):
    return nn.Parameter(torch.tensor(value))


REFUSED = {
    "log of a normal": lambda: Flow(Normal(0.0, 1.0), LOG),
    "log of normals": lambda: Flow(StandardNormal(2), LOG),
    "log of an affine normal": lambda: Flow(Laplace(0.0, 1.0), AffineScalar(shift=3.0) | LOG),
    "learned affine": lambda: Flow(Normal(0.0, 1.0), AffineScalar(learned(3.0)) | LOG),
    "log after tanh": lambda: Chain([Tanh(), LOG]),
    "log after an affine tanh": lambda: Chain([Tanh(), AffineScalar(scale=-2.0), LOG]),
    "atanh after exp": lambda: Chain([Exp(), Tanh().inv]),
    "exponential after tanh": lambda: Chain([Tanh(), ExponentialCDF()]),
    "even power": lambda: Flow(Normal(0.0, 1.0), from_transform(transforms.PowerTransform(torch.tensor(2.0)))),
    "quantiles of a normal": lambda: Flow(MultivariateNormal(zeros(2), torch.eye(2)), NormalCDF().inv),
    "wide uniform": lambda: Flow(Uniform(-2.0, 2.0), Tanh().inv),
    "one wide coordinate": lambda: Flow(Uniform(zeros(2), torch.tensor([1.0, 2.0])), Sigmoid().inv),
    "shifted uniform": lambda: Flow(Uniform(0.0, 1.0), AffineScalar(shift=0.5) | Sigmoid().inv),
    "mixture": lambda: Flow(MixtureSameFamily(Categorical(ones(2)), Normal(zeros(2), 1.0)), LOG),
    "one component": lambda: Flow(
        MixtureSameFamily(Categorical(ones(2)), Uniform(torch.tensor([-1.0, 0.0]), torch.tensor([0.5, 1.0]))), LOG
    ),
    "flow": lambda: Flow(Flow(Normal(0.0, 1.0), Tanh()).distribution(), LOG),
    "transformed normal": lambda: Flow(TransformedDistribution(Normal(0.0, 1.0), transforms.TanhTransform()), LOG),
    "numbers on a simplex": lambda: Flow(StandardNormal(3), SoftmaxCentered().inv),
    "simplex as numbers": lambda: Flow(Dirichlet(ones(3)), LowRankAffine(3)),
    "full matrices": lambda: Flow(Independent(Normal(zeros(2, 2), 1.0), 2), FillTriangular().inv),
    "Poisson": lambda: Flow(Poisson(1.0), AffineScalar()),
    "discrete mixture": lambda: Flow(MixtureSameFamily(Categorical(ones(2)), Poisson(ones(2))), AffineScalar()),
}
ALLOWED = {
    "log of a gamma": lambda: Flow(Gamma(1.0, 1.0), LOG),
    "log of a half normal": lambda: Flow(HalfNormal(1.0), LOG),
    "logit of a beta": lambda: Flow(Independent(Beta(ones(2), 1.0), 1), Sigmoid().inv),
    "shifted uniform": lambda: Flow(Uniform(-1.0, 1.0), AffineScalar(shift=2.0) | LOG),
    "rounding": lambda: Flow(Uniform(0.0, 1.0), AffineScalar(scale=1 / 3) | AffineScalar(scale=3.0) | Sigmoid().inv),
    "decreasing": lambda: Flow(Exponential(1.0), AffineScalar(scale=-1.0) | Exp() | Sigmoid().inv | AffineScalar()),
    "part of the domain": lambda: Flow(Uniform(0.1, 0.9), Tanh().inv | LOG),
    "learned affine of a bounded base": lambda: Flow(Uniform(1.0, 2.0), AffineScalar(learned(3.0)) | LOG),
    "learned activation": lambda: Flow(Exponential(1.0), SmoothPReLU() | LOG),
    "undeclared image": lambda: Flow(Normal(0.0, 1.0), Inline(torch.exp, torch.log) | LOG),
    "inverse": lambda: (Exp() | AffineScalar(1.0, 2.0)).inv,
    "inverse of two": lambda: (Sigmoid() | ExponentialCDF()).inv,
    "softplus of sigmoid": lambda: Chain([Sigmoid(), Softplus().inv]),
    "Gumbel": lambda: Flow(Gumbel(0.0, 1.0), Tanh() | AffineScalar(shift=2.0) | LOG),
    "affine transform of a bounded base": lambda: Flow(
        TransformedDistribution(Uniform(1.0, 2.0), transforms.AffineTransform(0.0, 1.0)), LOG
    ),
    "affine flow of a bounded base": lambda: Flow(Flow(Uniform(1.0, 2.0), AffineScalar()).distribution(), LOG),
}


@pytest.mark.parametrize("name", REFUSED)
def test_points_outside_a_domain_are_refused(name):
    with pytest.raises(ValueError, match=r"maps .*, but the (base lies|points there lie) on|is discrete, and a flow"):
        REFUSED[name]()


@pytest.mark.parametrize("name", ALLOWED)
def test_points_that_may_lie_in_a_domain_are_allowed(name):
    flow = ALLOWED[name]()
    if isinstance(flow, Flow):
        y = flow.sample((100,))
        assert not y.isnan().any()
        assert flow.log_prob(y).isfinite().all()
