"""The target of simulations: splits, units, and flows that learn the posterior."""

import pandas
import pytest
import torch

from flowlab import ConfigError, compose, fit, train
from flowlab.cli import sample
from flowlab.flows._assemble import assemble
from flowlab.flows.coupling import CouplingFlow
from flowlab.seeding import generator
from flowlab.targets import Simulator


def test_splits_share_the_simulations_and_test_rows_are_fresh():
    target = Simulator("slcp", simulations=200)
    training, validation, test = (
        target.batch(split, 50, 0, torch.float64) for split in ("train", "validation", "test")
    )
    assert (len(training.x), len(validation.x), len(test.x)) == (180, 20, 50)
    assert target.train_size == 180
    every = torch.cat([training.x, validation.x, test.x])
    assert len(every.unique(dim=0)) == 250
    assert training.context.shape == (180, 8)
    assert torch.equal(target.rows("train", 3, 9, torch.float64), training.x), "the run's seed does not matter"
    assert not torch.equal(Simulator("slcp", 200, 1).rows("train", 3, 0), Simulator("slcp", 200, 0).rows("train", 3, 0))
    assert not torch.equal(target.rows("test", 50, 1), target.rows("test", 50, 0))


def test_parameters_and_contexts_are_standardized_by_the_training_rows():
    target = Simulator("gaussian_mixture", simulations=500)
    training = target.batch("train", 0, 0, torch.float64)
    center, spread = target.standardization
    torch.testing.assert_close((training.x.mean(0), training.x.std(0)), (center, spread))
    torch.testing.assert_close(training.context.mean(0), torch.zeros(2).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(training.context.std(0), torch.ones(2).double())
    theta, x = target._simulate(500, generator(0, "simulations"))
    torch.testing.assert_close(target.encode_context(x[:450]), training.context)
    assert torch.equal(theta[:450], training.x)


def test_a_flow_learns_the_closed_posterior():
    target = Simulator("gaussian_linear", simulations=4000)
    settings = CouplingFlow(depth=4, map="affine", hidden=[32], mixing="lu")
    flow = assemble(settings, (10,), (10,), generator(0, "flow"), target.standardization)
    fit(flow, target, steps=600, batch_size=200, lr=0.01, progress="off")
    observed = torch.linspace(-0.5, 0.5, 10)
    samples, inside = target.sample_posterior(flow, observed, 5000, generator(0, "posterior"))
    assert inside == 1
    assert samples.shape == (5000, 10)
    assert float((samples.mean(0) - observed / 2).abs().max()) < 0.06  # the prior's deviation is 0.32
    assert float((samples.std(0) - 0.05**0.5).abs().max()) < 0.04


def test_samples_lie_in_the_prior():
    target = Simulator("two_moons", simulations=100)
    flow = assemble(CouplingFlow(depth=1, hidden=[8]), (2,), (2,), generator(0, "flow"), target.standardization)
    samples, inside = target.sample_posterior(flow, torch.zeros(2), 1000, generator(0, "posterior"))
    assert samples.abs().max() <= 1
    assert 0.5 < inside < 1, "an untrained flow is a Gaussian, which leaves the box"
    again, _ = target.sample_posterior(flow, torch.zeros(2), 1000, generator(0, "posterior"))
    assert torch.equal(samples, again)


def test_a_run_trains_on_simulations(tmp_path):
    small = ("target.simulations=100", "max_steps=5", "test_size=20", "trainer.progress=off", "flow.depth=1")
    run = train(compose("target=simulator", "target.task=slcp", "flow=nsf", *small), tmp_path / "run")
    assert run.status["status"] == "done"
    assert run.flow.event_shape == (5,)
    assert run.config.batch_size == 100
    assert (tmp_path / "run/figures/samples.png").exists()


def test_the_command_line_takes_an_observation_in_the_units_of_the_simulator(tmp_path):
    small = ("target.simulations=100", "max_steps=50", "test_size=20", "trainer.progress=off", "flow.depth=1")
    run = train(compose("target=simulator", "target.task=gaussian_mixture", "flow=nsf", *small), tmp_path / "run")
    words = [str(tmp_path / "run"), f"output={tmp_path / 'new.csv'}", "n=50", "context=[6.0,-6.0]"]
    assert sample.main(words) == 0
    rows = pandas.read_csv(tmp_path / "new.csv")
    assert list(rows) == ["theta1", "theta2"]
    context = run.target.encode_context(torch.tensor([[6.0, -6.0]])).expand(50, -1)
    expected = run.flow.rsample((), context, generator(0, "rows", 0))
    torch.testing.assert_close(torch.tensor(rows.to_numpy(), dtype=torch.float32), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    {
        "target.task=two_moon": "target.task='two_moon': no such task; did you mean 'two_moons'",
        "target.simulations=5": "target.simulations=5: must be at least 20",
    }.items(),
)
def test_mistake_is_named(words, message):
    with pytest.raises(ConfigError, match=message):
        compose("target=simulator", words)
