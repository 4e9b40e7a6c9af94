"""torch.compile by the user: a flow's log density is one graph for every bijector and common bases."""

import pytest
import torch
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
    LogNormal,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    TransformedDistribution,
    Uniform,
    biject_to,
    transforms,
)

from flowlab import Flow, StandardNormal
from flowlab.bijectors import (
    AffineScalar,
    Chain,
    FillTriangular,
    LowRankAffine,
    NormalCDF,
    SmoothPReLU,
    SoftmaxCentered,
)
from flowlab.bijectors.examples import DIM, EXAMPLES

ones, zeros = torch.ones, torch.zeros
BASES = {
    "Normal": lambda: Normal(zeros(3), 1.0),
    "MultivariateNormal": lambda: MultivariateNormal(zeros(3), torch.eye(3)),
    "low rank": lambda: LowRankMultivariateNormal(zeros(3), ones(3, 1), ones(3)),
    "Uniform": lambda: Independent(Uniform(zeros(3), 1.0), 1),
    "Laplace": lambda: Laplace(zeros(3), 1.0),
    "StudentT": lambda: StudentT(3.0 * ones(3)),
    "Gumbel": lambda: Gumbel(zeros(3), 1.0),
    "LogNormal": lambda: LogNormal(zeros(3), 1.0),
    "Gamma": lambda: Gamma(ones(3), 1.0),
    "Beta": lambda: Beta(ones(3), 2.0),
    "Exponential": lambda: Exponential(ones(3)),
    "HalfNormal": lambda: HalfNormal(ones(3)),
    "mixture": lambda: MixtureSameFamily(Categorical(ones(2)), Independent(Normal(zeros(2, 3), 1.0), 1)),
    "bounded mixture": lambda: MixtureSameFamily(Categorical(ones(2)), Gamma(ones(2), 1.0)),
    "flow": lambda: Flow(StandardNormal(3), LowRankAffine(3)).distribution(),
    "transformed": lambda: TransformedDistribution(Normal(zeros(3), 1.0), transforms.TanhTransform()),
}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def check(flow, y):
    y = torch.cat([y, torch.full_like(y[:1], 1e3)])  # mostly outside the support
    compiled = torch.compile(flow.log_prob, fullgraph=True, backend="eager")
    # Far outside, the slopes of a spline's tails multiply, and they multiply rounding errors of its two layouts.
    torch.testing.assert_close(compiled(y), flow.log_prob(y), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", EXAMPLES)
def test_log_prob_of_every_bijector_is_one_graph(name):
    bijector = EXAMPLES[name]()
    onto = biject_to(bijector.domain)
    shape = onto.inverse_shape(onto(zeros(DIM)).shape)
    base = Independent(Normal(zeros(shape), 1.0), len(shape))
    flow = Flow(TransformedDistribution(base, [onto]), bijector)
    check(flow, flow.sample((5,)))


@pytest.mark.parametrize("name", BASES)
def test_log_prob_over_every_base_is_one_graph(name):
    flow = Flow(BASES[name](), Chain([AffineScalar(0.5, 2.0), SmoothPReLU()]))
    check(flow, flow.sample((5,)))


def test_log_prob_over_a_simplex_is_one_graph():
    flow = Flow(Dirichlet(ones(3)), SoftmaxCentered().inv | AffineScalar(scale=2.0))
    check(flow, flow.sample((5,)))


@pytest.mark.parametrize(
    ("bijector", "shapes"), [(NormalCDF(), [(7,), (4, 3)]), (FillTriangular(), [(5, 3), (5, 6), (2, 10)])]
)
def test_one_graph_serves_points_of_several_shapes(bijector, shapes):
    compiled = torch.compile(bijector, fullgraph=True, dynamic=True, backend="aot_eager")
    for shape in shapes:
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), bijector(x))
