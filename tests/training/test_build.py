"""Building the parts of a run: each is built once, and incompatible parts are refused before a run begins."""

import pytest
import torch

from flowlab import ConfigError, compose
from flowlab.flows.mlp import MLP
from flowlab.training.build import build, check


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer=ddp_cpu", "batch_size=63"], "batch_size=63: is shared by 2 processes, .* must be a multiple"),
        (["objective=reverse_kl", "target=gaussian", "target.train_size=5"], "target.train_size: .*leave it null"),
        (["objective=reverse_kl", "target=uniform"], "objective=reverse_kl: needs a target whose density .* use"),
        (["trainer.precision=bf16-mixed", "dtype=float64"], "trainer.precision=bf16-mixed: .*use dtype=float32"),
        (["flow.rank=3"], "flow.rank=3: must be at most the dimension of the target, 2; use flow.rank=2"),
        (["batch_size=1000000000000"], "batch_size=1000000000000: would take about .* GB"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_incompatible_parts_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        check(compose(*words))


def test_valid_configuration_returns_its_target():
    target, costs = check(compose("trainer=ddp_cpu", "batch_size=64", "target=funnel", "target.dim=3"))
    assert target.dim == 3
    assert costs.parameters > 0


def test_the_flow_is_in_the_units_of_the_data_and_drawn_from_the_seed():
    first, again, other = (build(compose(f"seed={seed}", "dtype=float64")).flow for seed in (0, 0, 1))
    for name, tensor in first.state_dict().items():
        assert tensor.dtype == torch.float64
        assert torch.equal(again.state_dict()[name], tensor)
    assert any(not torch.equal(other.state_dict()[name], tensor) for name, tensor in first.state_dict().items())


def test_jobs_of_a_sweep_share_a_target():
    targets = {}
    first, second = (build(compose(f"seed={seed}"), targets=targets) for seed in (0, 1))
    assert first.target is second.target
    assert build(compose("target=funnel"), targets=targets).target is not first.target
    assert len(targets) == 2


def test_costs_are_counted_on_the_meta_device(monkeypatch):
    """The count uses a flow on the meta device, so the real flow is built once."""
    devices, usual = [], MLP.build

    def build_and_note(self, *arguments):
        flow = usual(self, *arguments)
        devices.append({parameter.device.type for parameter in flow.parameters()})
        return flow

    monkeypatch.setattr(MLP, "build", build_and_note)
    experiment = build(compose())
    assert devices == [{"meta"}, {"cpu"}]
    assert experiment.costs.parameters == sum(parameter.numel() for parameter in experiment.flow.parameters())
