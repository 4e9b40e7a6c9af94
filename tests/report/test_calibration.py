"""Ranks, bands, tails and distances: right for equal distributions, alarming for others."""

import numpy as np
import pytest

from flowlab.report.calibration import band, calibrate, rank, share_outside

NORMAL = np.random.default_rng(0).normal


def compare(real, generated):
    return calibrate("x", real, generated, 1, np.random.default_rng(0))


def test_ranks_count_smaller_values():
    draws = np.random.default_rng(0)
    assert rank(np.array([-1.0, 0.5, 9.0]), np.array([2.0, 0.0, 1.0]), draws).tolist() == [0, 1, 3]


def test_equal_values_have_every_rank_equally_often():
    ranks = rank(np.zeros(30_000), np.zeros(2), np.random.default_rng(0))
    assert np.bincount(ranks) / 30_000 == pytest.approx([1 / 3] * 3, abs=0.01)


def test_a_band_holds_its_share_of_perfect_flows():
    draws, groups, inside = np.random.default_rng(1), 201, 0
    low, high = band(100, 20, groups, 0.9)
    for _ in range(2000):
        values = draws.normal(size=300)
        share = (rank(values[:100], values[100:], draws) < 20).mean()
        inside += low <= share <= high
    assert 0.9 <= inside / 2000 < 0.97  # more than 0.9, as counts are whole


def test_equal_distributions_raise_no_alarm():
    found = compare(NORMAL(size=5000), NORMAL(size=50_000))
    assert not found.is_far
    assert not any(tail.is_alarming for tail in found.tails)
    assert found.pit.sum() == pytest.approx(1)
    assert ((found.pit >= found.low) & (found.pit <= found.high)).mean() > 0.8


def test_wide_samples_leave_the_tails_empty():
    found = compare(NORMAL(size=5000), 2 * NORMAL(size=50_000))
    assert found.is_far
    assert all(tail.share < tail.low and tail.is_alarming for tail in found.tails if tail.expected == 0.01)
    assert found.pit[10] > found.high > found.low > found.pit[0]


def test_light_tails_are_alarming_on_their_side():
    real = np.where(NORMAL(size=5000) > 1.5, 10.0, NORMAL(size=5000))
    low, _, _, high = compare(real, NORMAL(size=50_000)).tails
    assert not low.is_alarming
    assert high.is_alarming
    assert high.share > 0.05 > high.high


def test_few_rows_have_a_wide_band():
    found = compare(NORMAL(size=9), NORMAL(size=50_000))
    assert len(found.pit) == 5
    assert found.low == 0
    assert found.high > 0.5


def test_values_outside_the_range():
    train = np.linspace(0, 1, 1000)
    assert share_outside(np.full(1000, 0.5), train, 1) == (0.0, False)
    share, is_surprising = share_outside(np.linspace(-0.1, 1, 1000), train, 1)
    assert share == pytest.approx(0.09, abs=0.01)
    assert is_surprising
