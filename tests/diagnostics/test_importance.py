"""Bounds and effective sample sizes, against closed forms of two Gaussians."""

import math

import numpy as np
import pytest

from flowlab.diagnostics.importance import bound, effective_share, forward_effective_share, log_evidence

SCALE, LOG_Z = 1.3, 2.5  # q = N(0, SCALE^2), p = N(0, 1), p~ = exp(LOG_Z) p


def log_weights(x):
    return LOG_Z - x**2 / 2 + x**2 / (2 * SCALE**2) + math.log(SCALE)


@pytest.fixture(scope="module")
def both():
    """Log weights of draws of q, and of samples of p."""
    normal = np.random.default_rng(0).normal(size=(2, 100_000))
    return log_weights(SCALE * normal[0]), log_weights(normal[1])


def kl(first, second):
    """KL of N(0, first^2) from N(0, second^2)."""
    return math.log(second / first) + first**2 / (2 * second**2) - 0.5


def test_bounds_equal_log_z_minus_and_plus_a_divergence(both):
    (elbo, elbo_error), (eubo, eubo_error) = map(bound, both)
    assert elbo == pytest.approx(LOG_Z - kl(SCALE, 1), abs=4 * elbo_error)
    assert eubo == pytest.approx(LOG_Z + kl(1, SCALE), abs=4 * eubo_error)
    assert 0 < elbo_error < 0.01
    assert 0 < eubo_error < 0.01


def test_log_z_is_within_its_errors(both):
    value, error = log_evidence(both[0])
    assert value == pytest.approx(LOG_Z, abs=4 * error)
    assert 0 < error < 0.01
    repeated = [log_evidence(part) for part in both[0].reshape(100, 1000)]
    assert np.std([each.value for each in repeated]) == pytest.approx(
        np.mean([each.error for each in repeated]), rel=0.3
    )


def test_both_effective_sample_sizes_estimate_one_number(both):
    """1 / E_q (p / q)^2 = sqrt(2 SCALE^2 - 1) / SCALE^2."""
    share = math.sqrt(2 * SCALE**2 - 1) / SCALE**2
    assert effective_share(both[0]) == pytest.approx(share, abs=0.01)
    assert forward_effective_share(both[1], LOG_Z) == pytest.approx(share, abs=0.01)


def test_a_missed_mode_shows_in_the_forward_size_alone():
    """The flow has one of two equal modes, and 1e-9 of its mass at the other."""
    assert effective_share(np.full(1000, math.log(0.5))) == pytest.approx(1)
    forward = np.log(np.where(np.arange(1000) < 500, 0.5, 0.5e9))
    assert forward_effective_share(forward, math.log(0.5)) < 1e-8


def test_extreme_weights_do_not_overflow():
    assert log_evidence([1e4, 1e4]).value == pytest.approx(1e4)
    assert effective_share([-1e4, -1e4]) == pytest.approx(1)
    assert forward_effective_share([1e4, 1e4], 1e4) == pytest.approx(1)
    assert bound([0.0, -math.inf]).value == -math.inf
    assert bound([0.0, math.inf]).value == math.inf
    assert forward_effective_share([0.0, math.inf]) == 0
    assert log_evidence([0.0, -math.inf]).value == pytest.approx(math.log(0.5))
