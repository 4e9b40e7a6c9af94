"""Ranks and coverage are uniform for the right posterior, and show posteriors that are too narrow or shifted."""

import numpy as np
import pytest
import scipy.stats

from flowlab.config.errors import DataError
from flowlab.metrics.calibration import density_levels, expected_coverage, sbc_ranks, tarp_levels, uniformity_p_values

N, L = 2000, 99
CREDIBLE = np.linspace(0, 1, 21)


def posterior(scale=1.0, shift=0.0):
    """Return true parameters of N(0, I), samples of their posterior given x ~ N(theta, I), and both log densities."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(N, 2))
    mean = (theta + rng.normal(size=(N, 2))) / 2 + shift
    deviation = scale * 0.5**0.5
    samples = mean[:, None] + deviation * rng.normal(size=(N, L, 2))
    log_prob = scipy.stats.norm(mean, deviation).logpdf(theta).sum(-1)
    return theta, samples, log_prob, scipy.stats.norm(mean[:, None], deviation).logpdf(samples).sum(-1), rng


def test_right_posterior_passes_every_check():
    theta, samples, log_prob, of_samples, rng = posterior()
    assert (uniformity_p_values(sbc_ranks(theta, samples), L) > 0.01).all()
    for levels in (density_levels(log_prob, of_samples), tarp_levels(theta, samples, rng.normal(size=(N, 2)))):
        assert np.abs(expected_coverage(levels, CREDIBLE) - CREDIBLE).max() < 0.04


def test_narrow_posterior_covers_too_little():
    theta, samples, log_prob, of_samples, rng = posterior(scale=0.5)
    assert (uniformity_p_values(sbc_ranks(theta, samples), L) < 1e-10).all()
    # The region of level 1/2 of N(0, s^2 I) in two dimensions holds 1 - 2^(-s^2) of N(0, I).
    inside = expected_coverage(density_levels(log_prob, of_samples), [0.5])[0]
    assert inside == pytest.approx(1 - 2**-0.25, abs=0.03)
    tarp = expected_coverage(tarp_levels(theta, samples, 3 * rng.normal(size=(N, 2))), [0.1, 0.9])
    assert tarp[0] > 0.2
    assert tarp[1] < 0.8


def test_shifted_posterior_has_low_ranks():
    theta, samples, *_ = posterior(shift=0.5)
    assert sbc_ranks(theta, samples).mean() < 0.4 * L


def test_ranks_count_the_samples_below():
    ranks = sbc_ranks([[0.0, 5.0]], [[[-1.0, 1.0], [1.0, 2.0], [2.0, 3.0]]])
    assert ranks.tolist() == [[1, 3]]


def test_p_values_are_uniform_under_uniform_ranks():
    """101 ranks do not divide into 20 bins, which the expected counts allow for."""
    ranks = np.random.default_rng(0).integers(0, 101, size=(5000, 200))
    assert scipy.stats.kstest(uniformity_p_values(ranks, 100), "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sbc_ranks(np.zeros((3, 2)), np.zeros((3, 2))), r"must have shape \(n, L, d\)"),
        (lambda: sbc_ranks(np.zeros((3, 2)), np.zeros((4, 5, 2))), r"must have shape \(n, L, d\)"),
        (lambda: density_levels(np.zeros(3), np.zeros((4, 5))), r"must have shape \(n, L\)"),
        (lambda: tarp_levels(np.zeros((3, 2)), np.zeros((3, 5, 2)), np.zeros((3, 1))), "references: have shape"),
        (lambda: uniformity_p_values(np.zeros((50, 1)), 99), "bins=20: 50 simulations"),
        (lambda: uniformity_p_values(np.zeros((500, 1)), 9), "use fewer bins"),
    ],
)
def test_bad_shapes_are_named(call, message):
    with pytest.raises(DataError, match=message):
        call()
