"""Density models that a flow should beat: exact values, integrals, recovery, marginals and errors."""

import sys

import numpy as np
import pytest
import scipy.special
import scipy.stats

from flowlab.baselines import BASELINES, Gaussian, GaussianCopula, GaussianMixture, KernelDensity
from flowlab.baselines.base import thin
from flowlab.config.errors import ConfigError, DataError

GRID = np.stack(np.meshgrid(np.linspace(-9, 15, 241), np.linspace(-60, 60, 241), indexing="ij"), -1).reshape(-1, 2)
AREA = (24 / 240) * (120 / 240)


def skewed(count, seed):
    """Dependent columns, one skewed, one of two clusters, in different units."""
    draws = np.random.default_rng(seed)
    first = draws.gamma(2.0, size=count)
    return np.stack([first, 20 * draws.choice([-1, 1], count) + 5 * draws.normal(size=count) + first], axis=1)


@pytest.fixture(scope="module", params=BASELINES, ids=lambda baseline: baseline.__name__)
def fitted(request):
    return request.param().fit(skewed(2000, 0), skewed(500, 1))


def test_the_density_integrates_to_one(fitted):
    assert np.exp(fitted.log_prob(GRID)).sum() * AREA == pytest.approx(1, abs=0.01)


def test_a_marginal_is_the_integral_of_the_joint_density(fitted):
    line = np.linspace(-60, 60, 2401)
    given = fitted.marginal([0]).log_prob([[1.5]])
    points = np.stack([np.full_like(line, 1.5), line], axis=1)
    assert np.exp(fitted.log_prob(points) - given).sum() * (120 / 2400) == pytest.approx(1, abs=0.01)


def test_a_marginal_leaves_the_joint_model_as_it_is(fitted):
    rows = skewed(50, 2)
    before = fitted.log_prob(rows)
    fitted.marginal([1])
    assert np.array_equal(fitted.log_prob(rows), before)


def test_units_shift_the_density_alone(fitted):
    train, validation, test = skewed(2000, 0), skewed(500, 1), skewed(100, 2)
    scaled = type(fitted)().fit(train * [100, 1] + [7, 0], validation * [100, 1] + [7, 0])
    assert scaled.log_prob(test * [100, 1] + [7, 0]) == pytest.approx(fitted.log_prob(test) - np.log(100), abs=1e-3)


def test_equal_seeds_give_equal_densities_and_a_note_says_how(fitted):
    again = type(fitted)().fit(skewed(2000, 0), skewed(500, 1))
    assert np.array_equal(again.log_prob(skewed(100, 2)), fitted.log_prob(skewed(100, 2)))
    assert again.note == fitted.note != ""
    assert again.rows == 2000


def test_far_points_have_finite_densities(fitted):
    assert np.isfinite(fitted.log_prob([[1000.0, -1000.0]])).all()


@pytest.mark.parametrize("baseline", BASELINES)
def test_one_column_and_singular_columns(baseline):
    x = np.random.default_rng(0).normal(size=(300, 1))
    assert np.isfinite(baseline().fit(x[:200], x[200:]).log_prob(x)).all()
    twice = np.concatenate([x, x], axis=1)
    assert np.isfinite(baseline().fit(twice[:200], twice[200:]).log_prob(twice)).all()


@pytest.mark.parametrize("baseline", BASELINES)
def test_rows_that_no_model_fits(baseline):
    with pytest.raises(DataError, match="column 2 has one value in every row; leave it out"):
        baseline().fit(np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), np.zeros((2, 2)))
    with pytest.raises(DataError, match="needs at least 2 rows of finite numbers"):
        baseline().fit(np.array([[0.0], [np.nan], [2.0]]), np.zeros((2, 1)))


@pytest.mark.parametrize("baseline", [GaussianMixture])
def test_a_missing_package_is_named(baseline, monkeypatch):
    for name in ("sklearn", "sklearn.mixture", "sklearn.neighbors", "sklearn.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="needs scikit-learn, which is not installed; type pip install"):
        baseline().fit(skewed(50, 0), skewed(20, 1))


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_condition_of_categories_is_singular_and_still_gives_a_density(baseline):
    draws = np.random.default_rng(0)
    groups = draws.integers(3, size=3000)
    x = 5.0 * groups[:, None] + draws.normal(size=(3000, 1))
    rows = np.concatenate([x, np.eye(3)[groups]], axis=1)  # the last three columns add up to 1
    model = baseline().fit(rows[:2000], rows[2000:2500], conditions=3)
    found = model.log_prob(rows[2500:]) - model.marginal([1, 2, 3]).log_prob(rows[2500:, 1:])
    exact = scipy.stats.norm(5.0 * groups[2500:]).logpdf(rows[2500:, 0])
    assert np.mean(exact - found) == pytest.approx(0, abs=0.4)  # a copula of steps fits worst


def test_the_gaussian_is_exact():
    train, test = skewed(500, 0), skewed(20, 1)
    exact = scipy.stats.multivariate_normal(train.mean(0), np.cov(train, rowvar=False, bias=True))
    assert Gaussian().fit(train, test).log_prob(test) == pytest.approx(exact.logpdf(test), abs=1e-10)


def test_the_kernel_density_is_exact():
    train, test = np.random.default_rng(0).normal(size=(2, 300, 30))
    model = KernelDensity().fit(train, test)
    kernels = scipy.stats.norm(train / train.std(0), model._bandwidth).logpdf((test / train.std(0))[:, None])
    exact = scipy.special.logsumexp(kernels.sum(-1), axis=1) - np.log(300) - np.log(train.std(0)).sum()
    assert model.log_prob(test) == pytest.approx(exact, abs=1e-10)


def test_the_mixture_recovers_its_components():
    draws = np.random.default_rng(0)
    centers = np.array([[-10.0, 0.0], [10.0, 0.0], [0.0, 10.0], [0.0, -10.0]])
    places = draws.integers(4, size=5000)
    rows = centers[places] + draws.normal(size=(5000, 2))
    model = GaussianMixture().fit(rows[:4000], rows[4000:])
    assert model.note.startswith("4 components")
    parts = [scipy.stats.multivariate_normal(center).logpdf(rows[4000:]) for center in centers]
    exact = np.logaddexp.reduce(parts, axis=0) - np.log(4)
    assert np.mean(exact - model.log_prob(rows[4000:])) == pytest.approx(0, abs=0.02)


def test_the_bandwidth_follows_the_rows():
    def bandwidth(count):
        x = np.random.default_rng(0).normal(size=(count, 1))
        return KernelDensity().fit(x[: count // 2], x[count // 2 :])._bandwidth

    assert 0.02 < bandwidth(4000) < bandwidth(40) < 1.5


def test_the_copula_learns_marginals_and_dependence():
    draws = np.random.default_rng(0)
    z = draws.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=20_000)
    rows = np.stack([np.exp(z[:, 0]), z[:, 1] ** 3], axis=1)  # densities with a skew and a pole
    model = GaussianCopula().fit(rows[:15_000], rows[15_000:])
    assert model._covariance[0, 1] == pytest.approx(0.8, abs=0.01)
    test = z[15_000:]
    exact = scipy.stats.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]]).logpdf(test)
    exact -= test[:, 0] + np.log(3 * test[:, 1] ** 2)
    assert np.mean(exact - model.log_prob(rows[15_000:])) == pytest.approx(0, abs=0.1)


def test_repeated_values_leave_the_copula_finite():
    counts = np.random.default_rng(0).poisson(0.05, size=(1000, 2)).astype(float)
    assert np.isfinite(GaussianCopula().fit(counts[:800], counts[800:]).log_prob(counts)).all()


def test_rows_are_thinned_out_evenly():
    assert thin(np.arange(10), 20).tolist() == list(range(10))
    assert thin(np.arange(10), 4).tolist() == [0, 3, 6, 9]
