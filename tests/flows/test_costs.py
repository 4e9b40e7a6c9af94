"""Parameter and memory counts of a flow, without allocating it."""

import resource
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from flowlab import Flow, StandardNormal, compose
from flowlab.bijectors import LowRankAffine
from flowlab.config.errors import ConfigError
from flowlab.config.registry import option_names
from flowlab.flows import _assemble as module
from flowlab.flows._assemble import assemble, count_costs
from flowlab.flows.base import Architecture
from flowlab.training.build import check

NEEDED = {"custom": ["flow._target_=flowlab.bijectors.LowRankAffine", "+flow.rank=1"]}


@pytest.mark.parametrize("option", option_names("flow"))
@pytest.mark.parametrize("words", [[], ["target=funnel", "target.dim=5"], ["dtype=float64"]], ids=" ".join)
def test_counted_parameters_equal_the_built_flow(option, words):
    config = compose(f"flow={option}", *NEEDED.get(option, []), *words)
    shape, dtype = config.target.build().event_shape, getattr(torch, config.dtype)
    flow, costs = assemble(config.flow, shape, dtype=dtype), count_costs(config.flow, shape, dtype=dtype)
    assert costs.parameters == sum(parameter.numel() for parameter in flow.parameters())
    assert costs.stages == sum(1 for _ in flow.bijector.modules())
    numbers = sum(parameter.numel() * parameter.itemsize for parameter in flow.parameters())
    assert costs.memory > 4 * numbers, "parameters, gradient and two moments"
    assert costs.memory_of_point > 0


def test_memory_of_a_point_covers_tensors_saved_for_backward():
    """The bytes per point are at least the growth of autograd's saved tensors per point."""
    config = compose("flow.depth=3")
    flow = assemble(config.flow, (20,))

    def saved_bytes(points):
        tensors = {}

        def keep(tensor):
            tensors[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            flow.log_prob(torch.zeros(points, 20)).sum()
        return sum(tensors.values())

    measured = (saved_bytes(2000) - saved_bytes(1000)) / 1000
    assert measured <= count_costs(config.flow, (20,)).memory_of_point <= 3 * measured


@pytest.fixture
def one_gigabyte(monkeypatch):
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))


def test_flow_larger_than_memory_is_refused_before_allocation(one_gigabyte):
    """A triangular matrix of 100 000 columns would take 20 GB; the refusal allocates almost nothing."""
    config = compose("target=funnel", "target.dim=100000")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match=r"flow=mlp: for the 100000 columns .* would have 30,00.,...,... parameters"):
        check(config)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_flow_that_fits_into_memory_is_accepted(one_gigabyte):
    check(compose("target=funnel", "target.dim=100", "flow.depth=2"))
    check(compose("target=funnel", "target.dim=100000", "flow.scale=diag", "flow.depth=2", "batch_size=2"), here=False)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["batch_size=10000000"], "batch_size=10000000"),
        (["validation_size=100000000"], "validation_size=100000000"),
        (["test_size=100000000"], "test_size=100000000"),
        (["target.train_size=100000000"], "target.train_size=100000000"),
    ],
)
def test_points_larger_than_memory_are_refused(one_gigabyte, words, key):
    with pytest.raises(ConfigError, match=rf"^{key}: would take about .* GB where 1.0 GB are free"):
        check(compose(*words))


def test_flow_that_reads_parameter_values_is_not_counted():
    """`build` reads values, which the meta device does not have, so the check builds the real flow."""
    config = compose()

    class ReadsValues(type(config.flow)):
        def build(self, *shapes):
            flow = super().build(*shapes)
            assert float(next(flow.parameters()).detach().sum()) < 1e9
            return flow

    config.flow = ReadsValues(**vars(config.flow))
    assert count_costs(config.flow, (2,)) is None
    check(config)


class WrongLogDet(LowRankAffine):
    """Its log det is summed over the batch."""

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y, context)
        return x, log_det.sum()


class WrongPoints(LowRankAffine):
    """It gives a coordinate too many."""

    def inverse_and_log_det(self, y, context=None):
        x, log_det = super().inverse_and_log_det(y, context)
        return torch.cat([x, x[..., :1]], -1), log_det


@dataclass
class Wrong(Architecture):
    stage: type = WrongLogDet

    def build(self, event_shape, context_shape=None, generator=None):
        return Flow(StandardNormal(2), self.stage(2))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (WrongLogDet, r"WrongLogDet.*log det of shape \(\); it must have shape \(64,\)"),
        (WrongPoints, r"WrongPoints.*x of shape \(64, 3\); it must have shape \(64, 2\)"),
    ],
)
def test_stage_with_a_wrong_shape_is_named(stage, message):
    with pytest.raises(ConfigError, match=message):
        count_costs(Wrong(stage), (2,))


def test_architecture_must_build_a_flow():
    class Bare(Wrong):
        def build(self, *shapes):
            return LowRankAffine(2)

    with pytest.raises(ConfigError, match="build gave a LowRankAffine and must give a Flow"):
        assemble(Bare(), (2,))


def test_parameters_of_build_are_checked():
    class Short(Wrong):
        def build(self, event_shape):
            return LowRankAffine(2)

    with pytest.raises(ConfigError, match=r"it must be build\(self, event_shape, context_shape, generator\)"):
        assemble(Short(), (2,))
