"""Metrics of importance weights by name."""

import math

import pytest
import torch

from flowlab import Flow, StandardNormal, compose, train
from flowlab.bijectors import AffineScalar
from flowlab.metrics.evaluation import evaluate
from flowlab.targets import Batch, Gaussian

NAMES = ("elbo", "ess", "pareto_k", "forward_ess")
TARGET = Gaussian([0.0, 0.0], [[0.8, 0.0], [0.0, 0.8]])
FLOW = Flow(StandardNormal(2), AffineScalar()).double()


def test_metrics_equal_closed_forms():
    batch = TARGET.batch("test", 50_000, 0, torch.float64)
    measured = evaluate(FLOW, batch, TARGET).measure(NAMES)
    share = (2 / 0.64 - 1) * 0.64**2  # 1 / E_q (p / q)^2 with deviations 0.8 and 1 in two dimensions
    assert measured["ess"] == pytest.approx(share, abs=0.01)
    assert measured["forward_ess"] == pytest.approx(share, abs=0.01)
    kl = 2 * (math.log(0.8) + 1 / (2 * 0.64) - 0.5)
    assert measured["elbo"] == pytest.approx(-kl, abs=0.02)
    assert measured["pareto_k"] < 0.3


def test_they_are_left_out_without_a_density():
    x = torch.randn(100, 2, dtype=torch.float64)
    assert evaluate(FLOW, Batch(x)).measure(NAMES) == {}


def test_a_run_records_them(tmp_path):
    words = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=2", "batch_size=64")
    run = train(compose(*words, "max_steps=50", "metrics=[elbo,ess,pareto_k,forward_ess]"), tmp_path / "run")
    assert 0 < run.result["ess"] <= 1
    assert 0 <= run.result["forward_ess"] <= 1
    assert run.result["elbo"] < 0
    assert set(NAMES) <= set(run.metrics.columns)
