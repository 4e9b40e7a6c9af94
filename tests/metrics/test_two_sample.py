"""The classifier two-sample test tells different points apart, and equal ones not."""

import signal

import numpy as np
import pytest

from flowlab.config.errors import DataError
from flowlab.metrics.two_sample import classifier_two_sample

rng = np.random.default_rng(0)
REFERENCE = rng.normal(size=(1000, 2))


def test_equal_distributions_score_one_half():
    scores = classifier_two_sample(REFERENCE, rng.normal(size=(1000, 2)))
    assert scores.shape == (5,)
    assert scores.mean() == pytest.approx(0.5, abs=0.04)


def test_the_score_reaches_the_best_accuracy():
    """Two Gaussians at distance 2 are told apart with accuracy Phi(1) = 0.841, in any units."""
    samples = rng.normal(size=(1000, 2)) + np.array([2.0, 0.0])
    scores = classifier_two_sample(REFERENCE, samples)
    assert scores.mean() == pytest.approx(0.841, abs=0.03)
    assert np.array_equal(scores, classifier_two_sample(1024 * REFERENCE, 1024 * samples))


def test_equal_seeds_give_equal_scores():
    few = REFERENCE[:100], rng.normal(size=(100, 2)) + 1
    assert np.array_equal(classifier_two_sample(*few), classifier_two_sample(*few))
    assert not np.array_equal(classifier_two_sample(*few), classifier_two_sample(*few, seed=2))


def test_ctrl_c_stops_the_test():
    """scikit-learn alone would take it as the end of a network's training, and continue."""
    draws = rng.normal(size=(2, 10_000, 4))
    classifier_two_sample(*draws[:, :10])  # imports scikit-learn, so the signal comes while a network trains
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            classifier_two_sample(*draws)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("reference", "samples", "message"),
    [
        (REFERENCE, REFERENCE[:, :1], "samples: have 1 coordinates, and the reference 2"),
        (REFERENCE[:, 0], REFERENCE, r"reference: has shape \(1000,\)"),
        (REFERENCE, np.full((5, 2), np.nan), "samples: holds NaN"),
        (np.ones((5, 2)), REFERENCE, "coordinate 1 does not vary"),
    ],
)
def test_bad_points_are_named(reference, samples, message):
    with pytest.raises(DataError, match=message):
        classifier_two_sample(reference, samples)
