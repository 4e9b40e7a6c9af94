"""Annealing: the power of the target's density follows the number of the step."""

import pytest
import torch

from flowlab import ConfigError, Flow, StandardNormal, compose, fit, train
from flowlab.bijectors import LowRankAffine
from flowlab.config.registry import lookup, names
from flowlab.objectives import DensityObjective, ReverseKL
from flowlab.targets import Banana
from flowlab.targets.base import Batch, Minibatch

ANNEALED = [name for name in names("objective") if issubclass(lookup("objective", name), DensityObjective)]


def power(objective, step):
    """Return the factor of the log density at a step."""
    y = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    batch = Minibatch(Batch(y), torch.tensor(step))
    return float(objective.log_density(Banana(), y, batch) / Banana().log_prob(y))


@pytest.mark.parametrize("name", ANNEALED)
def test_the_power_grows_to_one(name):
    objective = lookup("objective", name)(anneal=100)
    powers = [power(objective, step) for step in (0, 50, 99, 100, 1000)]
    assert powers == pytest.approx([0.01, 0.505, 0.9901, 1.0, 1.0])
    assert powers[-1] == 1.0, "exactly"


def test_a_batch_without_a_step_sees_the_target_itself():
    y = torch.randn(5, 2)
    assert torch.equal(ReverseKL(anneal=10).log_density(Banana(), y, Batch(y)), Banana().log_prob(y))


@pytest.mark.parametrize("name", ANNEALED)
def test_every_step_must_not_be_annealed(name):
    words = (f"objective={name}", "objective.anneal=20", "target=gaussian")
    with pytest.raises(ConfigError, match="objective.anneal=20: leaves none of the 20 steps .* use at most 19"):
        train(compose(*words, "max_steps=20"))
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    with pytest.raises(ConfigError, match="use at most 19"):
        fit(flow, Banana(), objective=lookup("objective", name)(anneal=20), steps=20)
