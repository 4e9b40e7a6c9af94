"""A configuration becomes objects, each built once; what does not fit is refused; minibatches go by seed and step."""

import pytest
import torch

from flowlab import ConfigError, Flow, StandardNormal, compose, train
from flowlab.bijectors import Exp
from flowlab.flows import _assemble
from flowlab.flows.mlp import MLP
from flowlab.objectives import MaximumLikelihood, ReverseKL
from flowlab.targets import Banana
from flowlab.targets.base import Batch
from flowlab.training.build import MANY_BYTES, MANY_STEPS, build, build_batches, check, choose, epoch_batches


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer=ddp_cpu", "batch_size=63"], "batch_size=63: is shared by 2 processes, .* must be a multiple"),
        (["objective=reverse_kl", "target=gaussian", "target.train_size=5"], "target.train_size: .*leave it null"),
        (["objective=reverse_kl", "target=checkerboard"], "objective=reverse_kl: needs a target whose density .* use"),
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
    _, target, costs = check(compose("trainer=ddp_cpu", "batch_size=64", "target=funnel", "target.dim=3"))
    assert target.dim == 3
    assert costs.parameters > 0


def test_the_flow_is_in_the_units_of_the_data_and_drawn_from_the_seed():
    first, again, other = (build(compose(f"seed={seed}", "dtype=float64")).flow for seed in (0, 0, 1))
    for name, tensor in first.state_dict().items():
        assert tensor.dtype == torch.float64
        assert torch.equal(again.state_dict()[name], tensor)
    assert any(not torch.equal(other.state_dict()[name], tensor) for name, tensor in first.state_dict().items())


def test_jobs_of_a_sweep_share_a_target_and_the_costs_of_a_flow(monkeypatch):
    known, count, counted = {}, _assemble.count_costs, []
    monkeypatch.setattr(_assemble, "count_costs", lambda *words: counted.append(words) or count(*words))
    first, second = (build(compose(f"seed={seed}"), known=known) for seed in (0, 1))
    assert first.target is second.target
    assert build(compose("target=funnel"), known=known).target is not first.target
    assert len(counted) == 1
    assert build(compose("flow.depth=2"), known=known).costs != first.costs
    assert len(counted) == 2


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


def new_batches(seed=0):
    flow = Flow(StandardNormal(2), Exp())
    return build_batches(MaximumLikelihood(), flow, Banana(), seed, 64, torch.float64, "cpu")


def new_reverse_kl_batches(flow, seed, batch_size=20_000):
    return build_batches(ReverseKL(), flow, Banana(), seed, batch_size, torch.float64, "cpu")


def test_steps_can_be_drawn_in_any_order():
    forwards = [new_batches()(step).x for step in (0, 1, 2)]
    batches = new_batches()
    backwards = [batches(step).x for step in (2, 1, 0)][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert torch.equal(first, second)


def test_steps_and_seeds_differ():
    assert not torch.equal(new_batches()(0).x, new_batches()(1).x)
    assert not torch.equal(new_batches(0)(0).x, new_batches(1)(0).x)


def test_draws_of_several_jobs_are_placed_together():
    batches = new_batches()
    draws = [batches.draw(step) for step in range(3)]
    together = batches.from_draws(Batch(torch.stack([draw.x for draw in draws]))).x
    assert torch.equal(together, torch.stack([batches(step).x for step in range(3)]))


def test_minibatches_are_not_the_held_out_points():
    held_out = Banana().rows("test", 64, seed=0, dtype=torch.float64)
    assert not any(torch.isin(new_batches()(step).x, held_out).any() for step in range(5))


@pytest.mark.parametrize(("rows", "batch_size"), [(10, 5), (10, 4), (10, 3), (3, 7), (7, 7), (1, 2)])
def test_every_epoch_has_every_row_once(rows, batch_size):
    data = torch.arange(rows, dtype=torch.float64)[:, None]
    batches = epoch_batches(Batch(data), seed=0, batch_size=batch_size)
    epochs = 6
    steps = -(-rows * epochs // batch_size)
    parts = [batches(step).x for step in range(steps)]
    assert all(part.shape == (batch_size, 1) for part in parts)
    drawn = torch.cat(parts).flatten()[: rows * epochs].reshape(epochs, rows)
    assert torch.equal(drawn.sort(dim=1).values, data.flatten().expand(epochs, rows))
    if rows > 5:
        assert not torch.equal(drawn[0], drawn[1]), "two epochs have the same order"
        other = epoch_batches(Batch(data), seed=1, batch_size=batch_size)
        assert not torch.equal(torch.cat([other(step).x for step in range(steps)]), torch.cat(parts)), "seeds differ"
    again = epoch_batches(Batch(data), seed=0, batch_size=batch_size)
    assert torch.equal(again(steps - 1).x, parts[-1]), "a step does not depend on the steps before it"


def test_every_point_keeps_its_context():
    rows = Batch(torch.arange(10.0)[:, None], 2 * torch.arange(10.0)[:, None])
    batches = epoch_batches(rows, seed=0, batch_size=4)
    for step in range(5):
        batch = batches(step)
        assert torch.equal(batch.context, 2 * batch.x)


def test_reverse_kl_draws_from_the_base():
    flow = Flow(StandardNormal(2), Exp()).double()
    batches = new_reverse_kl_batches(flow, 0)
    batch = batches(0).x
    assert torch.equal(batch, batches(0).x)
    for other in (batches(1).x, new_reverse_kl_batches(flow, 1)(0).x):
        assert not torch.isin(batch, other).any(), "two steps or seeds share points"
    assert batch.mean(0).abs().max() < 0.05
    assert (batch.std(0) - 1).abs().max() < 0.05


def test_auto_decides_by_the_number_of_steps():
    """The same command makes the same choice on every machine."""
    short, long = choose("auto", MANY_STEPS - 1), choose("auto", MANY_STEPS)
    assert not short.compiled
    assert short.why == f"{MANY_STEPS - 1} steps are fewer than {MANY_STEPS}, from which a compilation pays"
    assert long.compiled
    assert f"from {MANY_STEPS} steps a compilation pays" in long.why
    assert choose("auto", 1, stacked_bytes=MANY_BYTES).compiled
    assert not choose("auto", MANY_STEPS, stacked_bytes=0.9 * MANY_BYTES).compiled
    assert not choose("auto", MANY_STEPS, device="cuda").compiled
    assert choose("true", 1, stacked_bytes=0.0).compiled
    assert not choose("false", 1_000_000).compiled


def test_missing_compiler_disables_auto_and_refuses_true(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    choice = choose("auto", MANY_STEPS)
    assert not choice.compiled
    assert "there is no C++ compiler 'no-such-compiler'" in choice.why
    with pytest.raises(ConfigError, match=r"trainer.compile=true: there is no C\+\+ compiler 'no-such-compiler'"):
        train(compose("trainer.compile=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_python_headers_disable_auto(monkeypatch):
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    choice = choose("auto", MANY_STEPS)
    assert not choice.compiled
    assert choice.why.endswith("but there is no Python.h, the headers of Python for C")
