"""The record of losses: values of a row, and the state that a checkpoint saves between two rows."""

import json
import math

import numpy as np
import pytest
import torch

from flowlab import Flow, StandardNormal, compose, train
from flowlab.bijectors import Bijector
from flowlab.config.schema import TrainerConfig
from flowlab.metrics.evaluation import evaluate, metric_names
from flowlab.optimizers import Adam
from flowlab.runs.record import Checkpoints, Record
from flowlab.targets import Gaussian
from flowlab.targets.base import Batch
from flowlab.training.build import build
from flowlab.training.divergence import DivergedError
from flowlab.training.train import _check_sound


@pytest.fixture
def job():
    """An experiment, a function that makes a record for it, and a function that measures its metrics."""
    words = ("max_steps=100", "trainer.log_every=10", "trainer.validate_every=50", "validation_size=50")
    experiment = build(compose(*words))
    config, target = experiment.config, experiment.target
    held_out = target.batch("validation", 50, 0)

    def measure(flow):
        return evaluate(flow, held_out, target).measure(metric_names())

    return experiment, lambda: Record(config.trainer, 100, experiment.optimizer, measure), measure


def test_row_has_learning_rate_of_its_step_and_speed_since_the_last_row(job):
    experiment, new, measure = job
    flow, record = experiment.flow, new()
    for step, seconds in ((10, 2.0), (20, 5.0)):
        record.add(torch.full((10,), float(step)), seconds)
        record.write(step, flow, 0.5, [])
        assert record.row["lr"] == experiment.optimizer.learning_rate(step - 1, 100), "steps count from 0"
        assert record.row["steps_per_second"] == pytest.approx(10 / seconds)
        assert (record.row["loss"], record.row["grad_norm"]) == (step, 0.5)
        assert "nll" not in record.row
    assert record.row["seconds"] == 7.0
    record.add(torch.zeros(30), 1.0)
    record.write(50, flow, 0.5, [])
    assert measure(flow).items() <= record.row.items()
    assert list(record.rows) == [10, 20, 50]


def test_record_saved_between_two_rows_writes_the_same_row(job):
    experiment, new, _ = job
    flow, record = experiment.flow, new()
    record.add(torch.ones(10), 2.0)
    record.write(10, flow, 0.5, [])
    record.add(torch.ones(4), 1.0)
    other = new()
    other.load_state_dict(json.loads(json.dumps(record.state_dict())))
    for each in (record, other):
        each.add(torch.zeros(6), 3.0)
        each.write(20, flow, 0.5, [])
    assert other.row == record.row
    assert record.row["loss"] == pytest.approx(0.4)


def test_resumed_run_logs_no_row_twice(job):
    """A resumed run computes rows after its last checkpoint again, although they are already logged."""
    experiment, new, _ = job

    class Sink:
        last_step, rows = 20, []

        def log_metrics(self, row, step):
            self.rows.append(step)

    sink, record = Sink(), new()
    for step in (10, 20, 30):
        record.add(torch.ones(10), 1.0)
        record.write(step, experiment.flow, 0.5, [sink])
    assert sink.rows == [30]


def test_last_step_always_has_a_row_with_metrics(job):
    _, new, _ = job
    record = new()
    assert [step for step in range(1, 100) if record.is_due(step)] == list(range(10, 100, 10))
    assert [step for step in range(1, 101) if record.is_validation_due(step)] == [50, 100]
    record.max_steps = 87
    assert record.is_due(87)
    assert record.is_validation_due(87)


@pytest.mark.parametrize(
    ("losses", "nlls", "last"),
    [
        pytest.param([3, 2, 1, 0.9, 0.8, 0.7], [4, 3, 3.1, 3.2, 3.3, 2], 5, id="memorizes"),
        pytest.param([3, 2, 90, 50, 9, 1, 1], [4, 3, 99, 60, 10, 2, 2.5], None, id="recovers from a spike"),
        pytest.param([3, 2, 90, 1, 1, 1, 1], [4, 3, 99, 3.1, 3.2, 3.3, 2], 6, id="memorizes after a spike"),
        pytest.param([3, 2, 2, 2, 2], [4, 3, math.nan, math.nan, math.nan], 5, id="not finite"),
    ],
)
@pytest.mark.parametrize("finite", [True, False])
def test_patience_counts_validations_that_are_worse_though_the_training_loss_is_not(losses, nlls, last, finite):
    settings = TrainerConfig(patience=3, validate_every=1, log_every=1)
    metrics = iter([{"nll": nll} for nll in nlls])
    record = Record(settings, 100, Adam(), lambda module: next(metrics))
    kept, ended = Checkpoints(settings, 100, None, finite), None
    for step, loss in enumerate(losses, start=1):
        record.add(torch.tensor([float(loss)]), 1.0)
        record.write(step, torch.nn.Module(), 0.0, [])
        kept.step(step, record, lambda step=step: {"step": step}, False)
        other = Checkpoints(settings, 100, None, finite)
        other.load_state_dict(kept.state_dict())
        assert other.state_dict() == kept.state_dict()
        assert other.is_patience_spent == kept.is_patience_spent
        if kept.is_patience_spent:
            ended = step
            break
    assert ended == (last if finite else None)
    seen = nlls[:ended]
    assert kept.best == {"step": kept.best_step}
    assert kept.best_nll == min(nll for nll in seen if nll == nll)


def test_a_doubtful_result_is_printed_and_kept(tmp_path, capsys):
    draws = np.random.default_rng(0)
    table = draws.normal(size=(400, 6)) @ draws.normal(size=(6, 6))
    np.save(tmp_path / "table.npy", table)
    words = ("target=file", f"target.path={tmp_path}/table.npy", "max_steps=3", "trainer.progress=off")
    run = train(compose(*words), tmp_path / "run")
    result, said = run.result, capsys.readouterr().err
    assert result["doubts"]
    assert all(f"{run.directory}: {doubt}" in said for doubt in result["doubts"])
    row, nll = result["worst_rows"][0]
    point = torch.as_tensor(table[[row - 1]], dtype=torch.float32)
    assert -run.flow.log_prob(point).item() == pytest.approx(nll, rel=1e-4)


class Leaky(Bijector):
    """y = x + origin, whose inverse loses a part of the second column."""

    def __init__(self, origin, part):
        super().__init__()
        self.origin, self.part = origin, torch.tensor([0.0, part], dtype=torch.float64)

    def forward_and_log_det(self, x, context=None):
        return x + self.origin, torch.zeros_like(x)

    def inverse_and_log_det(self, y, context=None):
        x = y - self.origin
        return x - self.part * x, torch.zeros_like(y)


@pytest.mark.parametrize("origin", [0.0, 1e4, -1e6])
def test_flow_without_an_inverse_is_refused_wherever_the_origin_lies(origin):
    spread = torch.tensor([1000.0, 0.1], dtype=torch.float64)
    draws = torch.Generator().manual_seed(0)
    x = spread * torch.randn(500, 2, generator=draws, dtype=torch.float64) + origin
    for part in (0.0, 0.1, 3.0):
        flow = Flow(StandardNormal(2), Leaky(origin, part)).double()
        evaluation = evaluate(flow, Batch(x), Gaussian())
        if part < 1:
            _check_sound(1.0, evaluation, spread)
            continue
        with pytest.raises(DivergedError, match=r"column x2 of a test point moves by 0\.\d+, .*deviation is 0\.1;"):
            _check_sound(1.0, evaluation, spread)
