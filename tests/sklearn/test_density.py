"""FlowDensity is an estimator of scikit-learn: its own checks, pipelines, searches, and the same numbers again."""

import numpy as np
import pandas
import pytest
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from flowlab.config.errors import ConfigError
from flowlab.sklearn import FlowDensity

MOONS = make_moons(400, noise=0.1, random_state=0)[0]
QUICK = {"flow": "smooth_prelu", "settings": {"depth": 2}, "steps": 30, "lr": 0.01, "random_state": 0}


def test_passes_the_checks_of_scikit_learn():
    results = check_estimator(FlowDensity(settings={"depth": 2}, steps=2))
    assert len(results) > 30
    assert {result["status"] for result in results} <= {"passed", "skipped"}


def test_works_in_a_pipeline_and_a_search():
    pipeline = make_pipeline(StandardScaler(), FlowDensity(**QUICK))
    search = GridSearchCV(pipeline, {"flowdensity__settings": [{"depth": 1}, {"depth": 2}]}, cv=2).fit(MOONS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_[-1].sample(5).shape == (5, 2)


def test_equal_seeds_give_equal_numbers():
    first, second = (FlowDensity(**QUICK).fit(MOONS) for _ in range(2))
    assert (first.score_samples(MOONS) == second.score_samples(MOONS)).all()
    assert (first.sample(4, random_state=1) == second.sample(4, random_state=1)).all()
    other = FlowDensity(**QUICK | {"random_state": 1}).fit(MOONS)
    assert (first.score_samples(MOONS) != other.score_samples(MOONS)).all()


def test_the_density_is_in_the_units_of_the_points():
    plain, scaled = (FlowDensity(**QUICK).fit(scale * MOONS + 50) for scale in (1, 1000))
    assert scaled.score(1000 * MOONS + 50) == pytest.approx(plain.score(MOONS + 50) - 2 * np.log(1000), abs=1e-3)


def test_beats_a_gaussian_on_moons():
    density = FlowDensity("nsf", settings={"depth": 2}, steps=300, lr=0.003, random_state=0).fit(MOONS)
    fresh = make_moons(1000, noise=0.1, random_state=1)[0]
    center, covariance = MOONS.mean(0), np.cov(MOONS.T)
    away = fresh - center
    gaussian = -0.5 * (away @ np.linalg.inv(covariance) * away).sum(1) - 0.5 * np.log(
        np.linalg.det(2 * np.pi * covariance)
    )
    assert density.score(fresh) > gaussian.mean() + 0.3


def test_columns_of_a_data_frame_must_be_the_same():
    frame = pandas.DataFrame(MOONS, columns=["a", "b"])
    density = FlowDensity(**QUICK).fit(frame)
    assert list(density.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        density.score_samples(frame[["b", "a"]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": "nfs"}, "flow=nfs"),
        ({"settings": {"dept": 2}}, "did you mean 'depth'"),
        ({"dtype": "float16"}, "dtype"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FlowDensity(**QUICK | arguments).fit(MOONS)


def test_the_flow_for_tables_starts_from_the_points():
    settings = {"depth": 1, "hidden": [4]}
    x = MOONS @ [[1.0, 2.0], [0.0, 0.1]]
    flow = FlowDensity("tabular", settings=settings, steps=1, lr=1e-9, random_state=0).fit(x)
    gaussian = -0.5 * np.log(np.linalg.det(np.cov(x.T))) - np.log(2 * np.pi) - 1
    assert flow.score(x) == pytest.approx(gaussian, abs=0.02)
