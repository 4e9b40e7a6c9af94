"""`flowlab.fit` with a log density in place of data."""

import math

import pytest
import torch
from torch.distributions import Dirichlet, Gamma, Normal, constraints

import flowlab
from flowlab import ConfigError, Flow, StandardNormal
from flowlab.bijectors import Chain, Exp, LowRankAffine, SmoothPReLU
from flowlab.targets import U2, LogDensity

QUIET = {"progress": "off", "validate_every": 50}


def bent(dim):
    generator = torch.Generator().manual_seed(0)
    affine = [LowRankAffine(dim, generator=generator) for _ in range(3)]
    return Flow(StandardNormal(dim), Chain([affine[0], SmoothPReLU(), affine[1], SmoothPReLU(), affine[2]]))


def gamma(x):
    return Gamma(3.0, 2.0).log_prob(x).sum(-1) + 2.0  # log Z = 2


def dirichlet_and_gamma(x):
    return Dirichlet(x.new_tensor([2.0, 3.0, 4.0])).log_prob(x[:, :3]) + Gamma(3.0, 2.0).log_prob(x[:, 3])


def test_positive_support_recovers_a_gamma():
    flow = bent(1)
    result = flowlab.fit(flow, log_density=gamma, support=constraints.positive, steps=500, lr=0.02, **QUIET)
    points = result.flow.sample((50_000,), generator=torch.Generator().manual_seed(0))
    assert (points > 0).all()
    assert float(points.mean()) == pytest.approx(1.5, abs=0.03)
    assert float(points.var()) == pytest.approx(0.75, abs=0.06)
    elbo = result.history["elbo"].dropna()
    assert elbo.iloc[-1] == pytest.approx(2.0, abs=0.02)
    assert elbo.iloc[-1] < 2.0 + 5 * result.history["elbo_se"].dropna().iloc[-1]
    assert result.best_step == elbo.idxmax()


def test_given_flow_shares_its_parameters_with_the_trained_one():
    flow = bent(1)
    result = flowlab.fit(flow, log_density=gamma, support="positive", steps=5, **QUIET)
    x = torch.randn(10, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(result.flow.bijector(x), flow.bijector(x).exp())
    again = flowlab.fit(result.flow, log_density=gamma, support="positive", steps=5, **QUIET)
    assert again.flow is result.flow, "it ends on the support already"


def test_flow_that_ends_on_the_support_is_trained_as_it_is():
    flow = Flow(StandardNormal(1), Chain([LowRankAffine(1), Exp()]))
    result = flowlab.fit(flow, log_density=gamma, support=constraints.positive, steps=5, **QUIET)
    assert result.flow is flow


@pytest.mark.parametrize(
    "support",
    [
        constraints.cat([constraints.simplex, constraints.positive], dim=-1, lengths=[3, 1]),
        ["simplex:3", constraints.positive],
    ],
    ids=["cat", "list"],
)
def test_coordinates_of_different_kinds(support):
    flow = Flow(StandardNormal(3), LowRankAffine(3))
    result = flowlab.fit(flow, log_density=dirichlet_and_gamma, support=support, steps=300, lr=0.02, **QUIET)
    points = result.flow.sample((20_000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(points[:, :3].sum(-1), torch.ones(len(points)))
    torch.testing.assert_close(points.mean(0), torch.tensor([2 / 9, 3 / 9, 4 / 9, 1.5]), rtol=0.03, atol=0)


def test_loop_and_numbers_are_those_of_the_reverse_kl_on_a_target():
    flows = [Flow(StandardNormal(2), LowRankAffine(2)) for _ in range(2)]
    settings = {"steps": 20, "seed": 3, **QUIET}
    flowlab.fit(flows[0], log_density=lambda x: Normal(1.0, 2.0).log_prob(x).sum(-1), **settings)
    target = LogDensity(lambda x: Normal(1.0, 2.0).log_prob(x).sum(-1), dim=2)
    flowlab.fit(flows[1], target, objective="reverse_kl", **settings)
    for one, other in zip(flows[0].parameters(), flows[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_exact_target_with_a_bounded_support_is_learned_by_the_reverse_kl():
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    result = flowlab.fit(flow, U2(), objective="reverse_kl", steps=20, **QUIET)
    assert result.flow.sample((1000,))[:, 0].abs().max() < 4
    assert math.isfinite(result.history["kl"].dropna().iloc[-1])


def test_directory_resumes_to_the_same_bits(tmp_path):
    whole, part = bent(2), bent(2)
    settings = {"log_density": gamma, "support": "positive", "batch_size": 32, "log_every": 5, **QUIET}
    flowlab.fit(whole, steps=20, directory=tmp_path / "whole", checkpoint_every=10, **settings)
    checkpoint = torch.load(tmp_path / "whole/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 20
    result = flowlab.fit(part, steps=20, directory=tmp_path / "whole", checkpoint_every=10, **settings)
    assert result.steps == 20
    for one, other in zip(whole.parameters(), part.parameters(), strict=True):
        assert torch.equal(one, other)
    assert list(result.history["elbo"].dropna().index) == [20]


def test_without_validation_there_are_no_metrics():
    result = flowlab.fit(bent(1), log_density=gamma, support="positive", steps=5, validation=None, **QUIET)
    assert "elbo" not in result.history


def test_further_metrics_of_samples():
    flow = bent(1)
    result = flowlab.fit(flow, log_density=gamma, support="positive", steps=5, metrics=["ess"], **QUIET)
    assert 0 < result.history["ess"].dropna().iloc[-1] <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "fit: give data, or log_density=f"),
        ({"log_density": gamma, "data": torch.zeros(5, 1)}, "log_density: trains without data; leave out one of"),
        ({"data": torch.randn(50, 1), "support": "positive"}, "support: belongs to log_density"),
        ({"log_density": 3}, "log_density: takes a function and trains a Flow, and got a int"),
        ({"log_density": gamma}, "log_density: is not finite at"),
        ({"log_density": gamma, "support": ["positive"] * 3}, "is for 3 coordinates, but a point has 1"),
        ({"log_density": gamma, "support": constraints.lower_cholesky}, "is no support that a flow can be mapped onto"),
        (
            {"log_density": gamma, "support": "positive", "metrics": ["forward_ess"]},
            "forward_ess is measured on points",
        ),
        (
            {"log_density": gamma, "support": "positive", "objective": "maximum_likelihood"},
            "needs points of the target",
        ),
        ({"log_density": lambda x: x.square(), "support": "real"}, "must give one log density for each point"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError) as caught:
        flowlab.fit(bent(1), **arguments, steps=5, **QUIET)
    assert message in str(caught.value)
