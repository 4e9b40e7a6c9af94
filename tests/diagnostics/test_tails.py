"""The checks of tails are exact for a perfect flow, and fire where the average log density hardly moves."""

import numpy as np
import pytest
import torch

from flowlab.diagnostics.tails import FALSE_ALARM, LEVELS, MarginalTails, level_tails


def normal_density(x):
    return -np.square(x).sum(-1) / 2


def marginal(draws, samples, parts=1, tests=None):
    tails = MarginalTails(len(draws))
    for part in np.array_split(draws, parts):
        tails.add_draws(torch.from_numpy(part))
    for part in np.array_split(samples, parts):
        tails.add_samples(torch.from_numpy(part))
    names = [f"x{number + 1}" for number in range(draws.shape[1])]
    return tails.worst(names, tests or tails.tests)


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "ties"])
def test_p_values_of_a_perfect_flow_are_uniform(discrete):
    """Draws and samples of one distribution: a share of about 10 % of the p-values is below 10 %."""
    found = []
    for seed in range(300):
        both = np.random.default_rng(seed).normal(size=(2, 2000))
        both = both.round() if discrete else both
        found += [tail.p_value for tail in level_tails(*both)]
    assert 0.04 < np.mean(np.array(found) < 0.1) < 0.13
    assert np.mean(np.array(found) < FALSE_ALARM) < 0.01


@pytest.mark.parametrize(("scale", "is_light"), [(1.3, True), (0.7, False)])
def test_wrong_tails_are_found_by_level_sets(scale, is_light):
    draws, samples = np.random.default_rng(0).normal(size=(2, 10_000, 3))
    tails = level_tails(normal_density(draws), normal_density(scale * samples))
    assert [tail.is_wrong for tail in tails[:2]] == [True, True]
    assert all((tail.observed > tail.nominal) == is_light for tail in tails)
    assert [round(tail.nominal, 3) for tail in tails] == list(LEVELS)


def test_marginal_tails_name_the_coordinate_and_the_side():
    draws, samples = np.random.default_rng(0).normal(size=(2, 10_000, 3))
    samples[:100, 1] = -5.0
    worst = marginal(draws, samples)
    assert worst.is_wrong
    assert worst.place in ("below the 1 % quantile of x2", "below the 0.1 % quantile of x2")
    assert not marginal(draws, np.random.default_rng(1).normal(size=(10_000, 3))).is_wrong


def test_marginal_tails_do_not_depend_on_chunks_and_keep_few_draws():
    draws, samples = np.random.default_rng(0).normal(size=(2, 10_000, 2))
    assert marginal(draws, samples) == marginal(draws, samples, parts=7)
    tails = MarginalTails(10_000)
    for part in np.array_split(draws, 10):
        tails.add_draws(torch.from_numpy(part))
    assert tails._low.shape == tails._high.shape == (100, 2)


def test_few_false_alarms_among_many_coordinates():
    alarms = 0
    for seed in range(100):
        draws, samples = np.random.default_rng(seed).normal(size=(2, 2000, 20))
        alarms += marginal(draws, samples).is_wrong
    assert alarms <= 1
