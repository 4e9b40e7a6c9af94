"""A user's metric: registered by name, measured at every validation and at the end."""

import pytest

from flowlab import ConfigError, Flow, StandardNormal, compose, fit, load_run, register, resume, train
from flowlab.bijectors import LowRankAffine
from flowlab.config import registry
from flowlab.metrics.evaluation import evaluate
from flowlab.targets import Banana

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=2", "batch_size=64")
EVERY_50 = ("trainer.log_every=50", "trainer.validate_every=50", "trainer.checkpoint_every=50")


@pytest.fixture(autouse=True)
def worst_log_prob(monkeypatch):
    """Register two metrics for one test."""
    registry.names("metric")  # registers flowlab's own metrics, which stay after the test
    monkeypatch.setitem(registry._registered, "metric", dict(registry._registered["metric"]))

    @register("metric", "worst_log_prob")
    def worst_log_prob(evaluation):
        return float(evaluation.log_prob.min())

    @register("metric", "never_defined")
    def never_defined(evaluation):
        return None


def test_metric_is_in_rows_and_result(tmp_path):
    words = ("metrics=[worst_log_prob,never_defined]", "max_steps=100")
    run = train(compose(*SMALL, *EVERY_50, *words), tmp_path / "run")
    worst = run.metrics.set_index("step")["worst_log_prob"]
    assert list(worst.index) == [50, 100]
    target, config = run.target, run.config
    last = evaluate(run.load_flow("last"), target.batch("validation", 500, config.seed), target)
    assert worst[100] == float(last.log_prob.min())
    assert run.result["worst_log_prob"] < run.metrics["nll"].min()
    assert "never_defined" not in run.result
    assert "never_defined" not in run.metrics or run.metrics["never_defined"].isna().all()
    assert load_run(run.directory).config.metrics == ["worst_log_prob", "never_defined"]


def test_metric_does_not_change_training(tmp_path):
    words = (*SMALL, *EVERY_50, "max_steps=100")
    with_it = train(compose(*words, "metrics=[worst_log_prob]"), tmp_path / "with")
    without = train(compose(*words), tmp_path / "without")
    assert with_it.result["nll"] == without.result["nll"]


@pytest.mark.parametrize("key", ["metrics: []\n", None], ids=["empty", "first version"])
def test_metric_can_be_added_before_a_resume(tmp_path, interrupt, key):
    """Earlier rows stay the same, with an empty field in the new column."""
    config = compose(*SMALL, *EVERY_50, "max_steps=150")
    whole = train(config, tmp_path / "whole")
    interrupt(100, train, config, tmp_path / "stopped")
    path = tmp_path / "stopped" / "config.yaml"
    text = path.read_text()
    assert "metrics: []\n" in text
    path.write_text(text.replace("metrics: []\n", "metrics: [worst_log_prob]\n" if key else ""))
    before = (tmp_path / "stopped" / "metrics.csv").read_text().splitlines()
    resumed = resume(tmp_path / "stopped")
    assert resumed.result["nll"] == whole.result["nll"]
    assert ("worst_log_prob" in resumed.result) == bool(key)
    after = (tmp_path / "stopped" / "metrics.csv").read_text().splitlines()
    added = (",worst_log_prob", "") if key else ("", "")
    assert after[0] == before[0] + added[0]
    assert after[1:3] == [line + ("," if key else "") for line in before[1:]]
    assert resumed.metrics["step"].tolist() == [50, 100, 150]
    if key:
        assert resumed.metrics["worst_log_prob"].isna().tolist() == [True, True, False]


def test_an_unknown_metric_is_refused():
    with pytest.raises(ConfigError, match="worst_logprob.*: no such metric; did you mean 'worst_log_prob'"):
        compose("metrics=[worst_logprob]")


def test_fit_measures_the_metric():
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    result = fit(flow, Banana(), steps=20, metrics=["worst_log_prob"], progress="off", validate_every=10)
    assert list(result.history["worst_log_prob"].dropna().index) == [10, 20]
