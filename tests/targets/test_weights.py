"""Weighted rows: a row of weight k counts as k rows, and a row of weight 0 does not count."""

import numpy as np
import pandas
import pytest
import torch

import flowlab
from flowlab import ConfigError, Flow, StandardNormal, compose, train
from flowlab.bijectors import LowRankAffine
from flowlab.metrics.evaluation import evaluate, gaussian_nll
from flowlab.seeding import generator, pick
from flowlab.targets import DataError, FileTarget
from flowlab.targets.base import Batch
from flowlab.training.build import epoch_batches

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 2))
WEIGHTS = np.where(X[:, 0] > 0, 3.0, 1.0) * np.where(X[:, 1] > 1.5, 0.0, 1.0)
WORDS = ("target=file", "target.weights=w", "trainer.progress=off", "trainer.compile=false")


@pytest.fixture
def path(tmp_path):
    pandas.DataFrame({"a": X[:, 0], "w": WEIGHTS, "b": X[:, 1]}).to_csv(tmp_path / "points.csv", index=False)
    return tmp_path / "points.csv"


def test_weights_are_no_coordinate(path):
    for target in (FileTarget(path, weights="w"), FileTarget(path, columns=["a", "b"], weights="w")):
        assert target.columns == ["a", "b"]
        train, weights = target.rows("train", 0, 0, torch.float64), target.row_weights("train")
        torch.testing.assert_close(weights.float(), (1.0 + 2.0 * (train[:, 0] > 0)) * (train[:, 1] <= 1.5))
        torch.testing.assert_close(target.mean, (weights[:, None] * train).sum(0) / weights.sum())
    assert FileTarget(path).row_weights("train") is None


def test_equal_weights_change_nothing(path):
    rows = Batch(torch.from_numpy(X))
    plain, weighted = (epoch_batches(rows, 3, 100, weights) for weights in (None, torch.full((600,), 0.7)))
    for step in range(14):
        assert torch.equal(plain(step).x, weighted(step).x)


def test_an_epoch_has_each_row_as_often_as_its_weight_says():
    weights = torch.from_numpy(WEIGHTS)
    expected = 600 * weights / weights.sum()
    counts = torch.zeros(600)
    for seed in range(200):
        epoch = torch.bincount(pick(weights, 600, generator(seed, "x")), minlength=600)
        assert ((epoch - expected).abs() < 2).all()
        counts += epoch / 200
    torch.testing.assert_close(counts.double(), expected, atol=0.25, rtol=0)


def test_means_over_rows_are_weighted():
    flow, copies = Flow(StandardNormal(2), LowRankAffine(2)), np.repeat(X, WEIGHTS.astype(int), axis=0)
    points, repeated, weights = torch.from_numpy(X).float(), torch.from_numpy(copies).float(), torch.from_numpy(WEIGHTS)
    once = evaluate(flow, Batch(repeated)).measure(["nll", "bits_per_dim"])
    assert evaluate(flow, Batch(points), weights=weights).measure(list(once)) == pytest.approx(once, rel=1e-6)
    assert gaussian_nll(points, points, weights, weights) == pytest.approx(gaussian_nll(repeated, repeated), rel=1e-6)
    equal, plain = (evaluate(flow, Batch(points), weights=w).measure(["nll_se"]) for w in (torch.ones(600), None))
    assert equal == pytest.approx(plain, rel=1e-2)


def test_a_run_learns_the_weighted_distribution(path, tmp_path):
    pandas.DataFrame({"a": X[:, 0], "w": np.exp(X[:, 0]), "b": X[:, 1]}).to_csv(path, index=False)
    run = train(compose(*WORDS, f"target.path={path}", "max_steps=1000"), tmp_path / "run")
    assert run.target.rows("train", 0, 0)[:, 0].mean() < 0.1
    assert run.flow.sample((4000,))[:, 0].mean().item() == pytest.approx(1.0, abs=0.2)  # exp tilts N(0, 1) to N(1, 1)
    test, weights = run.target.rows("test", 0, 0), run.target.row_weights("test")
    assert run.result["nll"] == pytest.approx(-np.average(run.flow.log_prob(test).detach(), weights=weights), rel=1e-5)


def test_fit_measures_a_weighted_target(path):
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    target = FileTarget(path, weights="w")
    result = flowlab.fit(flow, target, steps=200, lr=0.05, progress="off")
    held_out, weights = target.rows("validation", 0, 0), target.row_weights("validation")
    assert result.history["nll"].dropna().min() == pytest.approx(
        -np.average(flow.log_prob(held_out).detach(), weights=weights), rel=1e-5
    )


def test_weights_that_cannot_be_used_are_refused(path):
    pandas.DataFrame({"a": X[:, 0], "w": -WEIGHTS, "zero": 0, "b": X[:, 1]}).to_csv(path, index=False)
    for settings, said in (
        ({"weights": "v"}, "target.weights=v: no such column; the file has: a, w, zero, b"),
        ({"weights": "w"}, "target.weights=w: holds -.* in row .*; a weight must be at least 0"),
        ({"weights": "zero", "columns": ["a", "b"]}, "target.weights=zero: no row of a split counts"),
        ({"weights": "a", "columns": ["a"]}, "target.weights=a: is no coordinate; leave it out of target.columns"),
        ({"weights": "zero", "columns": []}, "is the only column"),
    ):
        with pytest.raises(DataError, match=said):
            FileTarget(path, **settings)
    with pytest.raises(ConfigError, match="target.weights=3.0: must be a word|no such column"):
        train(compose(*WORDS[:1], "target.weights=3.0", f"target.path={path}"))
