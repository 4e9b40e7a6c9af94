"""Eight schools and the logistic regression: their log densities, and posteriors of a flow beside records of NUTS."""

import eight_schools
import logistic_regression
import numpy as np
import nuts
import pandas
import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Normal

from flowlab import ConfigError, Flow
from flowlab.bijectors import AffineScalar
from flowlab.claims import load_record


def test_the_log_density_of_eight_schools_is_the_model():
    x = np.random.default_rng(0).normal(size=(5, 10))
    x[:, 1] = np.exp(x[:, 1])
    mu, tau, eta = x[:, 0], x[:, 1], x[:, 2:]
    expected = stats.norm(0, 5).logpdf(mu) + stats.halfcauchy(0, 5).logpdf(tau) + stats.norm.logpdf(eta).sum(1)
    theta = mu[:, None] + tau[:, None] * eta
    expected += stats.norm(theta, eight_schools.ERRORS).logpdf(eight_schools.EFFECTS).sum(1)
    np.testing.assert_allclose(eight_schools.log_density(torch.from_numpy(x)), expected)
    np.testing.assert_allclose(eight_schools.quantities(torch.from_numpy(x))[:, 2:], theta)


def test_the_log_density_of_the_regression_is_the_model():
    rows, labels, names = logistic_regression.load_table()
    assert rows.shape == (569, 11)
    assert len(names) == 11
    weights = np.random.default_rng(0).normal(size=(3, 11))
    chances = 1 / (1 + np.exp(-weights @ rows.T))
    expected = stats.norm.logpdf(weights).sum(1) + stats.bernoulli(chances).logpmf(labels).sum(1)
    found = logistic_regression.build_log_density()(torch.from_numpy(weights))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_weighted_moments_of_a_known_target():
    """Draws of N(0, 1.3^2) weighted to N(1, 1), within their own errors."""
    flow = Flow(Independent(Normal(torch.zeros(2), 1.3), 1), AffineScalar()).double()
    found = nuts.weighted_moments(flow, lambda x: -(x - 1).square().sum(1) / 2, lambda x: x, draws=50_000)
    assert (abs(found["mean"] - 1) < 4 * found["mean_error"]).all()
    assert (abs(found["sd"] - 1) < 4 * found["sd_error"]).all()
    assert (found[["mean_error", "sd_error"]] < 0.03).all(axis=None)


def test_differences_are_counted_in_errors_of_both():
    ours = pandas.DataFrame({"mean": [1.0], "mean_error": [0.3], "sd": [2.0], "sd_error": [0.0]})
    record = pandas.DataFrame({"name": ["a"], "mean": [0.0], "mean_error": [0.4], "sd": [2.5], "sd_error": [0.5]})
    row = nuts.compare(ours, record).iloc[0]
    assert row["mean: errors apart"] == pytest.approx(2.0)
    assert row["sd: errors apart"] == pytest.approx(-1.0)


def test_the_command_compares_a_flow_or_makes_the_record(capsys, monkeypatch):
    flow, made = Flow(Independent(Normal(torch.zeros(2), 1.0), 1), AffineScalar()), []

    def start(*words, fit_flow=lambda: flow):
        monkeypatch.setattr("sys.argv", ["posterior.py", *words])
        table = pandas.DataFrame({"errors apart": [0.5]})
        return nuts.main(
            "A posterior.", lambda: made.append(1), fit_flow, lambda x: -x.square().sum(1), lambda _: table
        )

    assert start() == 0
    said = capsys.readouterr().out
    assert "log Z by importance sampling" in said
    assert "errors apart" in said
    assert made == []
    assert start("--nuts") == 0
    assert made == [1]

    def fail():
        raise ConfigError("support: no such support")

    assert start(fit_flow=fail) == 2
    assert capsys.readouterr().err == "flowlab: support: no such support\n"


@pytest.mark.parametrize("script", [eight_schools, logistic_regression], ids=lambda script: script.__name__)
def test_the_records_are_long_runs_that_converged(script):
    record = load_record(script.RECORD.name)
    assert record.origin["divergences"] == 0
    assert (abs(record.table["r_hat"] - 1) < 0.001).all()
    assert (record.table["ess"] > 50_000).all()


def test_a_flow_gives_the_posterior_of_eight_schools(capsys):
    """A short fit, and weights make up for the rest. One of 800 tables has a difference beyond 4 errors."""
    flow = eight_schools.fit_flow(steps=300)
    table = eight_schools.compare_with_record(flow, draws=20_000)
    capsys.readouterr()
    assert (table[["mean: errors apart", "sd: errors apart"]].abs() < 4).all(axis=None)
    assert list(table["name"][:3]) == ["mu", "tau", "theta1"]
