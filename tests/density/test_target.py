"""`flowlab.fit` with a flow by its name and a log density or a target."""

import pytest
import torch
from torch.distributions import Dirichlet, Gamma, Normal, constraints

import flowlab
from flowlab import ConfigError
from flowlab.targets import U2, LogDensity

QUIET = {"progress": "off", "validate_every": 50}
SMALL = flowlab.compose("flow=nsf", "flow.depth=2", "flow.hidden=[16]").flow


def gamma_and_normal(x):
    return Gamma(3.0, 2.0).log_prob(x[:, 0]) + Normal(1.0, 2.0).log_prob(x[:, 1]) + 2.0  # log Z = 2


def test_support_gives_the_dimension_and_the_flow_learns_the_density():
    support = [constraints.positive, constraints.real]
    settings = {"support": support, "steps": 300, "lr": 0.01, "batch_size": 256, "validate_every": 300}
    result = flowlab.fit(flow=SMALL, log_density=gamma_and_normal, progress="off", **settings)
    points = result.flow.sample((20_000,), generator=torch.Generator().manual_seed(0))
    assert (points[:, 0] > 0).all()
    torch.testing.assert_close(points.mean(0), torch.tensor([1.5, 1.0]), rtol=0, atol=0.1)
    assert result.history["elbo"].dropna().iloc[-1] == pytest.approx(2.0, abs=0.05)


def test_dim_gives_the_dimension():
    result = flowlab.fit(flow="realnvp", log_density=lambda x: -x.square().sum(-1), dim=3, steps=2, **QUIET)
    assert result.flow.event_shape == (3,)


def test_simplex_has_one_free_coordinate_less():
    target = Dirichlet(torch.tensor([2.0, 3.0, 4.0])).log_prob
    result = flowlab.fit(flow="planar", log_density=target, support="simplex:3", steps=2, **QUIET)
    assert result.flow.base.event_shape == (2,)
    torch.testing.assert_close(result.flow.sample((100,)).sum(-1), torch.ones(100))


def test_target_is_learned_like_the_same_log_density():
    settings = {"flow": "planar", "steps": 5, "seed": 3, **QUIET}
    one = flowlab.fit(log_density=gamma_and_normal, support=["positive", "real"], **settings).flow
    target = LogDensity(gamma_and_normal, 2, ["positive", "real"])
    two = flowlab.fit(target, **settings).flow
    assert all(torch.equal(first, second) for first, second in zip(one.parameters(), two.parameters(), strict=True))


def test_seed_decides_the_initial_parameters():
    still = {"log_density": gamma_and_normal, "support": "positive", "dim": 2, "steps": 1, "lr": 1e-9, **QUIET}
    one, two = (flowlab.fit(flow="planar", seed=seed, **still).flow for seed in (3, 4))
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    assert max(float((first - second).abs().max()) for first, second in pairs if first.requires_grad) > 1e-3


def test_exact_target_is_learned_by_maximum_likelihood_or_another_objective():
    settings = {"flow": "planar", "steps": 2, **QUIET}
    assert "nll" in flowlab.fit(U2(), **settings).history
    reverse = flowlab.fit(U2(), objective="reverse_kl", **settings)
    assert reverse.flow.sample((1000,))[:, 0].abs().max() < 4, "it ends on the support of U2"


def test_dtype_of_the_flow():
    result = flowlab.fit(
        flow="planar", log_density=gamma_and_normal, dim=2, support="positive", dtype="float64", steps=1
    )
    assert result.flow.anchor.dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "dim: the number of coordinates is unknown; give it, as in fit(flow='nsf', log_density=f, dim=3)"),
        ({"support": constraints.positive}, "dim: the number of coordinates is unknown"),
        ({"support": constraints.simplex}, "dim: the number of coordinates is unknown"),
        ({"support": ["positive", "real"], "dim": 3}, "is for 2 coordinates, but a point has 3"),
        ({"dim": "3"}, "dim='3': must be the number of coordinates of a point, at least 1"),
        ({"dim": 2, "steps": 0}, "steps=0: must be a whole number, at least 1"),
        ({"dim": 2, "data": torch.zeros(5, 2)}, "log_density: trains without data; leave out one of the two"),
        ({"dim": 2, "log_density": 3}, "log_density: is a int and must be a function"),
        ({"log_density": None, "data": U2(), "dim": 2}, "dim: belongs to log_density; a Target names its own"),
        ({"log_density": None, "data": U2(), "support": "real"}, "support: belongs to log_density"),
        ({"dim": 2, "stepps": 1}, "stepps: no such key"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError) as caught:
        flowlab.fit(**{"flow": "nsf", "log_density": gamma_and_normal, "steps": 1} | arguments, **QUIET)
    assert message in str(caught.value)


@pytest.mark.parametrize("given", [{"dim": 2}, {"dtype": "float64"}])
def test_a_module_has_its_own_dimension_and_dtype(given):
    flow = SMALL.build((2,))
    with pytest.raises(ConfigError, match=f"{next(iter(given))}: is for a flow by its name; a module has its own"):
        flowlab.fit(flow, log_density=gamma_and_normal, **given, **QUIET)


def test_settings_of_a_flow_are_named_by_its_name():
    with pytest.raises(ConfigError, match="flow='coupling', log_density=f, dim=3"):
        flowlab.fit(flow=SMALL, log_density=gamma_and_normal)
