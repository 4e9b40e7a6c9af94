"""Compiled training equals eager training, also resumed and stacked; a command always makes the same choice."""

import copy
import json

import pytest
import torch
from torch._dynamo.utils import counters

from flowlab import ConfigError, compose, load_run, resume, train
from flowlab.sweeps.train_many import train_many
from flowlab.targets.base import Batch
from flowlab.training.build import build
from flowlab.training.compile import compiled_step
from flowlab.training.divergence import DivergedError, describe_divergence
from flowlab.training.step import Recipe, StackedStep, new_state, rates_of_steps

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=2", "batch_size=64")


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_graphs():
    yield
    torch._dynamo.reset()


def weights(run, name="last"):
    return run.load_flow(name).state_dict()


def assert_same(first, second, tolerance):
    for name, tensor in weights(first).items():
        torch.testing.assert_close(weights(second)[name], tensor, rtol=tolerance, atol=tolerance)


# In single precision, 200 steps of training amplify one rounding difference to about 1e-4.
@pytest.mark.parametrize(
    ("dtype", "optimizer", "tolerance"),
    [("float64", "adam", 1e-10), ("float32", "adam", 1e-3), ("float64", "sgd", 1e-10), ("float64", "adamw", 1e-10)],
)
def test_compiled_equals_eager(tmp_path, dtype, optimizer, tolerance):
    words = (*SMALL, "max_steps=200", f"dtype={dtype}", f"optimizer={optimizer}", "optimizer.clip=5")
    words += ("optimizer.lr=0.001", "trainer.steps_per_call=7")
    eager = train(compose(*words, "trainer.compile=false"), tmp_path / "eager")
    compiled = train(compose(*words, "trainer.compile=true"), tmp_path / "compiled")
    assert_same(eager, compiled, tolerance)
    assert compiled.result["kl"] == pytest.approx(eager.result["kl"], rel=100 * tolerance)
    for column in ("step", "loss", "nll", "kl", "lr", "grad_norm"):
        pairs = zip(compiled.metrics[column].dropna(), eager.metrics[column].dropna(), strict=True)
        assert all(ours == pytest.approx(theirs, rel=100 * tolerance) for ours, theirs in pairs), column
    first, second = eager.checkpoint("last"), compiled.checkpoint("last")
    assert first["global_step"] == second["global_step"] == 200
    assert first["optimizer_states"][0]["param_groups"] == second["optimizer_states"][0]["param_groups"]
    assert (eager.result["compiled"], compiled.result["compiled"]) == (False, True)


def test_a_graph_is_compiled_once(tmp_path):
    words = (*SMALL, "max_steps=10", "dtype=float64", "trainer.compile=true")
    train(compose(*words), tmp_path / "first")
    counters.clear()
    train(compose(*words, "seed=1", "optimizer.lr=0.001", "flow.smoothness=0.5"), tmp_path / "second")
    assert counters["inductor"]["fxgraph_cache_hit"] == 1
    assert not counters["inductor"]["fxgraph_cache_miss"]


def test_resumed_compiled_run_ends_at_same_bits(tmp_path, interrupt):
    words = (*SMALL, "max_steps=120", "dtype=float64", "trainer.compile=true", "trainer.checkpoint_every=50")
    whole = train(compose(*words), tmp_path / "whole")
    interrupt(100, train, compose(*words), tmp_path / "stopped")
    assert load_run(tmp_path / "stopped").checkpoint("last")["global_step"] == 100
    resumed = weights(resume(tmp_path / "stopped"))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in weights(whole).items())


def test_diverging_compiled_run_names_step_and_layer(tmp_path):
    words = (*SMALL, "max_steps=300", "dtype=float64", "optimizer.lr=1e200", "optimizer.schedule=constant")
    messages = []
    for choice in ("false", "true"):
        with pytest.raises(DivergedError) as caught:
            train(compose(*words, f"trainer.compile={choice}"), tmp_path / choice)
        messages.append(str(caught.value))
        saved = load_run(tmp_path / choice)
        assert saved.status["status"] == "failed"
    assert messages[0] == messages[1]


def test_message_names_the_part_that_is_not_finite():
    experiment = build(compose(*SMALL))
    flow, target = experiment.flow, experiment.target
    points = target.sample(8, torch.Generator().manual_seed(0))

    def loss(flow, batch):
        return experiment.objective(flow, batch, target)

    def steep(flow, batch):
        return loss(flow, batch) + (0 * flow.bijector.parts[0].shift.sum()).sqrt()  # its derivative at 0 is 0 / 0

    update = describe_divergence(flow, Batch(points), 7, loss, True)
    assert update.startswith(
        "the update at step 7 gave parameters that are not finite, though the loss and its gradient"
    )
    gradient = describe_divergence(flow, Batch(points), 7, steep, True)
    assert gradient == "the gradient is not finite at step 7, though the loss is"
    points[3] = torch.nan
    minibatch = describe_divergence(flow, Batch(points), 7, loss, True)
    assert minibatch.startswith("the loss is not finite at step 7: the minibatch itself")


def test_a_compiled_stack_equals_its_jobs_alone(tmp_path):
    words = (*SMALL, "max_steps=100", "dtype=float64")
    jobs = [["seed=0"], ["seed=1", "optimizer.lr=0.003"], ["seed=2", "flow.smoothness=0.5"]]
    stacked = train_many(
        [compose(*words, "trainer.compile=true", *each) for each in jobs], [tmp_path / str(n) for n in range(3)]
    )
    for number, each in enumerate(jobs):
        alone = train(compose(*words, "trainer.compile=false", *each), tmp_path / f"alone{number}")
        assert_same(alone, stacked[number], 1e-10)


class Context(torch.nn.Module):
    """A module whose minibatches have contexts."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, 3, dtype=torch.float64))

    def loss(self, batch):
        return (batch.x @ self.weight - batch.context).square().mean()


def test_a_compiled_step_takes_contexts():
    module = Context()
    optimizer = compose().optimizer
    step = StackedStep([module], Recipe(lambda module, batch: module.loss(batch), optimizer))
    drawn = Batch(torch.randn(1, 8, 2, dtype=torch.float64), torch.randn(1, 8, 3, dtype=torch.float64))
    state = new_state([copy.deepcopy(module)], optimizer)
    ((_, rates),) = rates_of_steps([optimizer], range(1), 10, state.numbers)
    (after, losses), (expected, theirs) = compiled_step(step)(state, drawn, rates), step(state, drawn, rates)
    torch.testing.assert_close(losses, theirs)
    torch.testing.assert_close(after.numbers, expected.numbers)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("jobs", [1, 2])
def test_gpu_training_equals_cpu_training(tmp_path, jobs):
    """CPU and GPU draw different points, so the test uses a finite data set, whose order the CPU draws."""
    words = (*SMALL, "max_steps=60", "dtype=float64", "target.train_size=200", "trainer.compile=true")
    trained = {
        trainer: train_many(
            [compose(*words, f"trainer={trainer}", f"seed={seed}") for seed in range(jobs)],
            [tmp_path / f"{trainer}{seed}" for seed in range(jobs)],
        )
        for trainer in ("cpu", "gpu")
    }
    for ours, theirs in zip(trained["gpu"], trained["cpu"], strict=True):
        assert ours.status == {"status": "done"}
        assert_same(theirs, ours, 1e-8)


@pytest.mark.parametrize("value", ["yes", "1", "null", "'True'"])
def test_other_values_of_compile_are_refused(value):
    with pytest.raises(ConfigError, match=r"trainer\.compile="):
        compose(f"trainer.compile={value}")


def test_run_without_the_compile_setting_resumes_eagerly(tmp_path):
    run = train(compose(*SMALL, "max_steps=10", "trainer.compile=false"), tmp_path / "run")
    path = run.directory / "config.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "compile:" not in line))
    (run.directory / "status.json").write_text(json.dumps({"status": "interrupted"}))
    assert load_run(run.directory).config.trainer.compile == "false"
    assert resume(run.directory).done
