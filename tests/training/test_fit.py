"""flowlab.fit trains a flow or a module with a loss, on data of every kind, and equals flowlab.train."""

import copy

import numpy as np
import pandas
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from flowlab import Flow, StandardNormal, compose, fit, train
from flowlab.bijectors import Bijector, LowRankAffine, SmoothPReLU
from flowlab.metrics.evaluation import evaluate
from flowlab.optimizers import AdamW
from flowlab.targets import Banana, Gaussian
from flowlab.targets.base import Batch
from flowlab.training.build import build
from flowlab.training.divergence import DivergedError

QUIET = {"progress": "off"}
TIMELESS = ["loss", "nll", "grad_norm", "lr"]


def points(count=500, seed=0):
    return 3 + 2 * torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))


def new_flow(dim=2):
    draws = torch.Generator().manual_seed(0)
    first, last = (LowRankAffine(dim, generator=draws) for _ in range(2))
    return Flow(StandardNormal(dim), first | SmoothPReLU(0.8) | last)


def weights(module):
    return torch.cat([tensor.flatten() for tensor in module.state_dict().values()])


class Shifted(Bijector):
    """y = x + w context."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, 2))

    def forward_and_log_det(self, x, context=None):
        return x + context @ self.weight, torch.zeros_like(x)

    def inverse_and_log_det(self, y, context=None):
        return y - context @ self.weight, torch.zeros_like(y)


class Regression(torch.nn.Module):
    """A module that is not a flow."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def loss(self, x, context=None):
        answer = x.sum(-1, keepdim=True) if context is None else context
        return (self.linear(x) - answer).square().mean()


# Data


def test_tensors_arrays_and_frames_give_the_same_bits():
    x = points()
    trained = []
    for data in (x, x.numpy(), pandas.DataFrame(x.numpy(), columns=["a", "b"]), x.tolist()):
        flow = new_flow()
        result = fit(flow, data, steps=30, batch_size=64, **QUIET)
        trained.append((weights(flow), result.history["loss"].iloc[-1]))
    for numbers, loss in trained[1:]:
        assert torch.equal(numbers, trained[0][0])
        assert loss == trained[0][1]


def test_fit_learns_the_density():
    x, flow = points(5000), new_flow()
    result = fit(flow, x, steps=400, lr=0.02, validate_every=100, log_every=50, **QUIET)
    expected = 2 * (0.5 * np.log(2 * np.pi * np.e) + np.log(2))
    assert -flow.log_prob(points(5000, seed=1)).mean().item() == pytest.approx(expected, abs=0.05)
    history = result.history
    assert history.index.name == "step"
    assert list(history.index) == list(range(50, 401, 50))
    assert list(history["nll"].dropna().index) == [100, 200, 300, 400]
    assert result.steps == 400
    assert result.seconds > 0


def test_context_columns_of_a_frame_are_contexts():
    x, context = points(400, 1), torch.randn(400, 2)
    frame = pandas.DataFrame(torch.cat([x + 3 * context, context], 1).numpy(), columns=["u", "v", "c", "d"])
    by_name, by_value = (Flow(StandardNormal(2), LowRankAffine(2, rank=0) | Shifted()) for _ in range(2))
    for flow, data, given in (
        (by_name, frame, ["c", "d"]),
        (by_value, x + 3 * context, context),
    ):
        fit(flow, data, context=given, steps=600, lr=0.1, batch_size=64, **QUIET)
    torch.testing.assert_close(weights(by_name), weights(by_value), rtol=1e-3, atol=1e-3)
    weight = next(parameter for name, parameter in by_name.named_parameters() if name.endswith("weight"))
    torch.testing.assert_close(weight.detach(), 3 * torch.eye(2), atol=0.4, rtol=0)


def test_held_out_points_of_every_kind_give_the_same_metrics():
    x, held_out = points(), points(100, seed=1)
    frame = pandas.DataFrame(held_out.numpy())
    loader = DataLoader(TensorDataset(held_out), batch_size=30)
    rows = []
    for validation in (held_out, held_out.numpy(), frame, loader):
        flow = new_flow()
        result = fit(flow, x, validation=validation, steps=20, patience=None, **QUIET)
        rows.append(result.rows[20]["nll"])
        assert rows[-1] == pytest.approx(-flow.log_prob(held_out).double().mean().item(), rel=1e-6)
    assert rows[1:] == rows[:1] * 3


def test_loader_is_read_repeatedly_in_its_own_order():
    x = points(100)
    loader, flow, by_hand = DataLoader(TensorDataset(x), batch_size=30), new_flow(), new_flow()
    result = fit(flow, loader, steps=10, lr=0.05, **QUIET)
    assert result.best_step == 0, "no rows of a loader are held out"
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for part in [*x.split(30), *x.split(30), *x.split(30)][:10]:
        optimizer.zero_grad()
        (-by_hand.log_prob(part).mean()).backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(weights(flow), weights(by_hand), rtol=1e-5, atol=1e-6)


def test_loader_may_yield_contexts():
    x, context = points(), torch.randn(500, 2)
    flow = Flow(StandardNormal(2), LowRankAffine(2) | Shifted())
    loader = DataLoader(TensorDataset(x + context, context), batch_size=100)
    assert fit(flow, loader, validation=loader, steps=20, **QUIET).best_step == 20


# Comparison with flowlab.train


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["target.train_size=300", "optimizer=adamw", "optimizer.lr=0.02", "trainer.patience=1"],
        ["target=gaussian_full", "objective=reverse_kl", "optimizer=sgd", "optimizer.lr=0.001"],
        ["trainer.precision=bf16-mixed"],
    ],
    ids=lambda words: " ".join(words) or "banana",
)
def test_fit_ends_at_same_bits_as_train(tmp_path, words):
    config = compose(
        *("trainer.progress=off", "flow.depth=2", "batch_size=64", "max_steps=80", "seed=3", "test_size=100"),
        *("trainer.log_every=20", "trainer.validate_every=40"),
        *words,
    )
    experiment = build(config)
    flow = copy.deepcopy(experiment.flow)
    run = train(config, tmp_path / "run")
    keep = ("log_every", "validate_every", "patience", "precision", "compile", "progress")
    result = fit(
        flow,
        experiment.target,
        steps=80,
        batch_size=64,
        optimizer=config.optimizer,
        objective=config.objective.name,
        seed=3,
        **{name: getattr(config.trainer, name) for name in keep},
    )
    assert torch.equal(weights(flow), weights(run.flow))
    rows, expected = result.history, run.metrics.set_index("step")
    columns = [name for name in expected if name not in ("seconds", "steps_per_second")]
    pandas.testing.assert_frame_equal(rows[columns], expected[columns], check_exact=True)
    assert (result.steps, result.best_step) == (80, run.result["best_step"])


# Early stopping


def test_early_stopping_restores_the_best_weights():
    """The flow memorizes five points within a few steps."""
    x, held_out, flow = points(5), points(200, seed=1), new_flow()
    result = fit(flow, x, validation=held_out, steps=300, lr=0.2, validate_every=10, log_every=10, **QUIET)
    nll = result.history["nll"]
    assert result.best_step == nll.idxmin() < 300
    assert result.steps == result.best_step + 10 * 10 < 300  # ten validations without a better one
    measured = evaluate(flow, Batch(held_out)).measure(["nll"])["nll"]
    assert measured == pytest.approx(nll.min(), rel=1e-6) != nll.iloc[-1]


def test_fresh_points_keep_the_last_weights():
    flow = new_flow()
    result = fit(flow, Banana(), steps=40, lr=0.3, validate_every=10, **QUIET)
    target = Banana()
    measured = evaluate(flow, target.batch("validation", 10_000, 0), target).measure(["nll", "kl"])
    assert measured["nll"] == result.rows[40]["nll"]
    assert measured["kl"] == result.rows[40]["kl"]


def test_best_step_is_zero_without_validation():
    result = fit(new_flow(), points(), validation=None, steps=10, **QUIET)
    assert result.best_step == 0
    assert "nll" not in result.history


# A module with a loss


@pytest.mark.parametrize("with_context", [False, True])
def test_module_with_a_loss_is_trained(with_context):
    x = torch.randn(400, 2)
    context = x @ torch.tensor([[2.0], [-1.0]]) if with_context else None
    module = Regression()
    result = fit(module, x, context=context, steps=400, lr=0.05, batch_size=64, validate_every=100, **QUIET)
    expected = [2.0, -1.0] if with_context else [1.0, 1.0]
    assert module.linear.weight.flatten().tolist() == pytest.approx(expected, abs=0.02)
    assert result.history["validation_loss"].dropna().iloc[-1] < 1e-3
    assert result.best_step in (100, 200, 300, 400)


def test_module_is_trained_on_a_loader_and_on_a_target():
    loader = DataLoader(TensorDataset(torch.randn(90, 2), torch.randn(90, 1)), batch_size=40)
    assert fit(Regression(), loader, validation=loader, steps=10, **QUIET).best_step == 10
    assert fit(Regression(), Gaussian(), steps=10, **QUIET).steps == 10


# A directory


def test_same_call_resumes_from_its_directory_at_same_bits(tmp_path, interrupt):
    """After a stop between two checkpoints, the same call ends at the same bits and with the whole history."""
    options = {"steps": 120, "log_every": 20, "validate_every": 20, "checkpoint_every": 50, "lr": 0.2, **QUIET}
    x = points(30)
    held_out = points(200, seed=1)
    whole, stopped = new_flow(), new_flow()
    expected = fit(whole, x, validation=held_out, directory=tmp_path / "whole", **options)
    assert {str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*.*")} == {
        *("metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt")
    }
    interrupt(80, fit, stopped, x, validation=held_out, directory=tmp_path / "stopped", **options)
    resumed = new_flow()
    result = fit(resumed, x, validation=held_out, directory=tmp_path / "stopped", **options)
    assert torch.equal(weights(resumed), weights(whole))
    assert (result.steps, result.best_step) == (expected.steps, expected.best_step)
    pandas.testing.assert_frame_equal(result.history[TIMELESS], expected.history[TIMELESS], check_exact=True)
    again = new_flow()
    finished = fit(again, x, validation=held_out, directory=tmp_path / "stopped", **options)
    assert torch.equal(weights(again), weights(whole)), "a finished fit returns different weights"
    assert finished.history.equals(result.history)


def test_the_best_weights_survive_a_resume(tmp_path, interrupt):
    """The best step is before the last checkpoint, so the resumed session does not compute it."""
    options = {"steps": 200, "log_every": 10, "validate_every": 10, "checkpoint_every": 100, "lr": 0.2, **QUIET}
    x, held_out = points(5), points(200, seed=1)
    interrupt(100, fit, new_flow(), x, validation=held_out, directory=tmp_path, **options)
    flow = new_flow()
    result = fit(flow, x, validation=held_out, directory=tmp_path, **options)
    assert 0 < result.best_step < 100, result.history["nll"]
    assert evaluate(flow, Batch(held_out)).measure(["nll"])["nll"] == result.rows[result.best_step]["nll"]


def test_module_with_a_loss_resumes(tmp_path):
    x = torch.randn(100, 2)
    first, second = Regression(), Regression()
    fit(first, x, steps=30, directory=tmp_path, **QUIET)
    assert fit(second, x, steps=30, directory=tmp_path, **QUIET).steps == 30
    assert torch.equal(weights(first), weights(second))
    assert "validation_loss" in (tmp_path / "metrics.csv").read_text()


def test_divergence_error_names_step_and_layer():
    flow = new_flow()
    with pytest.raises(DivergedError, match=r"not finite at step \d+: |the update at step \d+"):
        fit(flow, points(), steps=400, optimizer=AdamW(lr=1e20, schedule="constant"), **QUIET)
    assert weights(flow).isfinite().all()


def test_fit_inside_no_grad_trains():
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    with torch.no_grad():
        fit(flow, 3 + torch.randn(100, 2), steps=5, progress="off")
    assert flow.bijector.shift.abs().min() > 0
