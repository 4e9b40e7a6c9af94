"""The classifier two-sample test: half for equal distributions, above half for others."""

import sys

import numpy as np
import pytest

from flowlab.config.errors import ConfigError
from flowlab.report.dependence import most_dependent
from flowlab.report.two_samples import tell_apart


def test_equal_distributions_cannot_be_told_apart():
    rows = np.random.default_rng(0).normal(size=(4000, 2))
    test = tell_apart(rows[:2000], rows[2000:], 0)
    assert test.low < 0.5 < test.high < 0.53
    assert test.rows == 2000


def test_contexts_that_both_sets_share_tell_nothing():
    draws = np.random.default_rng(0)
    context = draws.normal(size=(1000, 2))
    real, generated = (np.column_stack([draws.normal(size=1000), context]) for _ in range(2))
    test = tell_apart(real, generated, 0)
    assert test.low < 0.5 < test.high


def test_a_dependence_that_marginals_hide_is_seen():
    draws = np.random.default_rng(0)
    x = draws.normal(size=(2000, 1))
    test = tell_apart(np.concatenate([x, x], axis=1), draws.normal(size=(2000, 2)), 0)
    assert test.low > 0.9


def test_equal_seeds_give_equal_accuracies_and_few_rows_none():
    rows = np.random.default_rng(0).normal(size=(200, 2))
    assert tell_apart(rows[:100], rows[100:], 1) == tell_apart(rows[:100], rows[100:], 1)
    assert tell_apart(rows[:19], rows[100:119], 1) is None


def test_a_missing_package_is_named(monkeypatch):
    for name in ("sklearn", "sklearn.ensemble", "sklearn.model_selection"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="needs scikit-learn"):
        tell_apart(np.zeros((30, 1)), np.zeros((30, 1)), 0)


def test_the_most_dependent_columns_are_chosen():
    x = np.random.default_rng(0).normal(size=(2000, 5))
    x[:, 3] = x[:, 1] ** 2  # no correlation
    assert most_dependent(x, 2) == [1, 3]
    assert most_dependent(x[:, :2], 6) == [0, 1]
