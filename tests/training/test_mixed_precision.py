"""Mixed precision: eager, stacked and traced steps compute the same loss, and only training uses bfloat16."""

import json

import pytest
import torch

from flowlab import ConfigError, compose, fit, load_run, resume, train
from flowlab.metrics.evaluation import evaluate
from flowlab.sweeps.train_many import stack_key, train_many
from flowlab.targets.base import Batch
from flowlab.training.build import build, build_batches
from flowlab.training.compile import trace
from flowlab.training.divergence import DivergedError
from flowlab.training.step import Recipe, SingleStep, StackedStep, new_state

MIXED = "trainer.precision=bf16-mixed"
SMALL = ("trainer.progress=off", "trainer.compile=false", "test_size=500", "validation_size=500", "flow.depth=2")


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_graphs():
    yield
    torch._dynamo.reset()


def gradients(*words):
    """Return gradient and loss of the first step for a single step, a stacked step and a traced step."""
    experiment = build(compose(*SMALL, *words))
    config, flow, target = experiment.config, experiment.flow, experiment.target
    batches = build_batches(experiment.objective, flow, target, config.seed, 512, torch.float32, "cpu")
    mixed = config.trainer.precision == "bf16-mixed"
    recipe = Recipe(lambda flow, batch: experiment.objective(flow, batch, target), None, batches.from_draws, mixed)
    numbers, steps, *_ = new_state([flow], experiment.optimizer)
    drawn = Batch(batches.draw(0).x[None])
    stacked = StackedStep([flow], recipe)
    traced = trace(lambda numbers, x: stacked.gradients(numbers, steps, Batch(x)), numbers, drawn.x)
    single = SingleStep(flow, recipe)
    found = single.gradients(numbers, steps, drawn), stacked.gradients(numbers, steps, drawn), traced(numbers, drawn.x)
    assert {tensor.dtype for each in found for tensor in each} == {torch.float32}
    return found


def error(found, expected):
    """Return the relative error of the gradient and the error of the loss in nats."""
    return float((found[0] - expected[0]).norm() / expected[0].norm()), float((found[1] - expected[1]).abs())


@pytest.mark.parametrize(
    "words",
    [[], ["target=funnel", "target.dim=5"], ["target=gaussian_full", "objective=reverse_kl"]],
    ids=lambda words: " ".join(words) or "banana",
)
def test_single_stacked_and_traced_steps_compute_the_same_loss(words):
    exact = gradients(*words)[0]
    single, stacked, traced = gradients(*words, MIXED)
    assert 1e-4 < error(single, exact)[0] < 2e-2
    assert max(error(stacked, single)) < 1e-5
    assert max(error(traced, single)) < 1e-4


def test_eager_compiled_and_stacked_runs_agree(tmp_path):
    """Rounding differences in the 8th digit grow, but stay below the effect of bfloat16."""
    words = (*SMALL, "max_steps=20", "trainer.log_every=5")
    exact = train(compose(*words), tmp_path / "exact")
    eager = train(compose(*words, MIXED), tmp_path / "eager")
    compiled = train(compose(*words, MIXED, "trainer.compile=true"), tmp_path / "compiled")
    stacked = train_many([compose(*words, MIXED, f"seed={seed}") for seed in (0, 1)], [tmp_path / "0", tmp_path / "1"])
    runs = (exact, eager, compiled, stacked[0])
    exact, *losses = [torch.tensor(run.metrics["loss"].to_numpy()) for run in runs]
    effect = (exact - losses[0]).abs().max()
    assert effect > 0
    for loss in losses[1:]:
        assert (loss - losses[0]).abs().max() < 0.1 * effect
    assert all(tensor.dtype == torch.float32 for tensor in eager.load_flow("last").state_dict().values())


def test_evaluation_is_in_full_precision(tmp_path):
    config = compose(*SMALL, MIXED, "max_steps=20")
    run = train(config, tmp_path / "run")
    flow, target = run.load_flow("last"), config.target.build()
    rows = target.rows("test", config.test_size, config.seed, torch.float64).float()
    by_hand = evaluate(flow, Batch(rows), target).measure(["nll", "kl", "inverse_error"])
    for name, value in by_hand.items():
        assert run.result[name] == value, name
    validation = target.batch("validation", config.validation_size, config.seed, torch.float32)
    assert run.metrics["nll"].dropna().iloc[-1] == evaluate(flow, validation, target).measure(["nll"])["nll"]
    with torch.autocast("cpu", torch.bfloat16):
        lowered = evaluate(flow, validation, target).measure(["inverse_error"])
    assert lowered["inverse_error"] > 100 * by_hand["inverse_error"], "the test cannot detect autocast"


def test_bfloat16_with_double_precision_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"trainer.precision=bf16-mixed: .* dtype=float64; use dtype=float32 or"):
        train(compose(*SMALL, MIXED, "dtype=float64"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"trainer.precision='16-mixed': .*full, bf16-mixed"):
        compose("trainer.precision=16-mixed")


def test_jobs_of_different_precision_are_not_stacked():
    target = compose().target.build()
    assert stack_key(compose(), target) != stack_key(compose(MIXED), target)


def test_run_without_the_precision_setting_resumes_in_full_precision(tmp_path):
    run = train(compose(*SMALL, "max_steps=10"), tmp_path / "run")
    path = run.directory / "config.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "precision:" not in line))
    (run.directory / "status.json").write_text(json.dumps({"status": "interrupted"}))
    assert load_run(run.directory).config.trainer.precision == "full"
    assert resume(run.directory).done


class Fragile(torch.nn.Module):
    """A module whose loss is finite only in full precision."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, 2))

    def loss(self, x):
        y = x @ self.weight
        return y.float().square().mean() * (torch.nan if y.dtype == torch.bfloat16 else 1.0)


def test_divergence_is_described_in_the_precision_of_training():
    with pytest.raises(DivergedError, match="the loss is not finite at step 0: the module's own loss gave it"):
        fit(Fragile(), torch.randn(50, 2), steps=5, precision="bf16-mixed", progress="off")
    assert fit(Fragile(), torch.randn(50, 2), steps=5, progress="off").steps == 5
