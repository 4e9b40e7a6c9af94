"""The Pareto fit finds the shape of known tails, and smoothed weights give known expectations."""

import math

import numpy as np
import pytest

from flowlab.config.errors import DataError
from flowlab.diagnostics.pareto import fit_pareto, largest_k, least_draws, pareto_k, smooth_weights


def pareto_weights(k, count, seed=0):
    """Log weights with P(w > t) = t^(-1/k)."""
    return k * np.random.default_rng(seed).exponential(size=count)


@pytest.mark.parametrize("k", [-0.5, 0.1, 0.5, 0.9, 1.5])
@pytest.mark.parametrize("scale", [0.01, 1.0, 1e6])
def test_fit_finds_shape_and_scale(k, scale):
    uniform = np.random.default_rng(0).random(20_000)
    found = fit_pareto(scale * (uniform**-k - 1) / k)
    assert found.k == pytest.approx(k, abs=0.05)
    assert found.scale == pytest.approx(scale, rel=0.05)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.8, 1.2])
def test_k_of_weights_is_their_tail_index_and_ignores_a_constant(k):
    weights = pareto_weights(k, 100_000)
    found = pareto_k(weights)
    assert found == pytest.approx(k, abs=0.08)
    assert pareto_k(weights - 800) == pytest.approx(found, abs=1e-6)


def test_k_equals_a_value_of_arviz():
    """arviz 0.23.4, psislw of the same weights: 0.7128869672730692."""
    assert pareto_k(pareto_weights_of_arviz()) == pytest.approx(0.7128869672730692, rel=1e-12)


def pareto_weights_of_arviz():
    rng = np.random.default_rng(0)
    draws = [k * rng.exponential(size=count) for k in (0.1, 0.5) for count in (100, 1000, 10_000)]
    return draws[4]


def test_smoothed_weights_are_closer_to_an_expectation():
    """Draws of N(0, 0.6^2) estimate E x^2 = 1 of N(0, 1), where raw weights have no variance: k = 1 - 0.36 = 0.64."""
    raw, smoothed = [], []
    for seed in range(200):
        x = 0.6 * np.random.default_rng(seed).normal(size=1000)
        log_weights = x**2 / 0.72 - x**2 / 2
        weights, _ = smooth_weights(log_weights)
        assert weights.sum() == pytest.approx(1)
        smoothed.append(weights @ x**2)
        raw.append(np.average(x**2, weights=np.exp(log_weights)))
    errors = [np.sqrt(np.mean((np.array(each) - 1) ** 2)) for each in (smoothed, raw)]
    assert errors[0] < errors[1]
    assert abs(np.mean(smoothed) - 1) < 0.2


def test_weights_of_very_different_size_are_fitted_without_an_overflow():
    log_weights = np.linspace(-7000, 0, 1000)
    with np.errstate(all="raise", under="ignore"):
        assert pareto_k(log_weights) > 1


def test_smoothing_keeps_the_body_and_the_order():
    log_weights = pareto_weights(0.6, 1000)
    weights, _ = smooth_weights(log_weights)
    order = np.argsort(log_weights)
    assert (np.diff(weights[order]) >= 0).all()
    body = order[: -math.ceil(3 * math.sqrt(1000)) - 1]
    np.testing.assert_allclose(weights[body] / weights[body[0]], np.exp(log_weights[body] - log_weights[body[0]]))


def test_weights_without_a_tail():
    assert pareto_k(np.zeros(1000)) == -math.inf
    assert pareto_k(1e-6 * pareto_weights(1.0, 1000)) == -math.inf, "rounding of float32 is no tail"
    assert math.isnan(pareto_k(np.zeros(20)))
    assert pareto_k([0.0] * 99 + [math.inf]) == math.inf
    assert smooth_weights([0.0] * 99 + [math.inf])[0][-1] == 1
    assert math.isfinite(pareto_k([-math.inf] * 900 + [0.0] * 50 + [1.0] * 50)), "most weights are 0"


@pytest.mark.parametrize("given", [[], [[0.0]], [math.nan], [-math.inf]])
def test_useless_weights_are_refused(given):
    with pytest.raises(DataError, match="log_weights"):
        pareto_k(given)


def test_draws_and_k_belong_together():
    for draws in (100, 1000, 2000):
        assert least_draws(largest_k(draws)) == pytest.approx(draws)
    assert largest_k(10**6) == 0.7
    assert least_draws(-3) == 10
    assert least_draws(1.0) == least_draws(2.0) == math.inf
