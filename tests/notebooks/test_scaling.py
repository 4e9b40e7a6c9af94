"""Cost curves draw times and the fitted power laws."""

import numpy as np
import pytest
from lesson_figures import cost_curves, moving_points

from flowlab.plotting import fitted_exponent

DIMS = np.array([1.0, 10.0, 100.0, 1000.0])
# 3 d^2 from d = 10 on; overhead dominates at d = 1.
MEDIAN = np.array([50.0, 300.0, 30_000.0, 3_000_000.0])
SPREAD = (MEDIAN, 0.5 * MEDIAN, 2 * MEDIAN)


def test_fitted_exponent_recovers_a_power_law():
    assert fitted_exponent(DIMS, 7 * DIMS**2.5) == pytest.approx(2.5)


def test_cost_curves_draws_median_range_and_power_law():
    figure = cost_curves(DIMS, {"dense": SPREAD}, fit_from=10)
    (axes,) = figure.axes
    median, law = axes.lines
    np.testing.assert_allclose(median.get_xydata(), np.column_stack([DIMS, MEDIAN]))
    np.testing.assert_allclose(law.get_xydata(), np.column_stack([DIMS[1:], MEDIAN[1:]]))
    corners = axes.collections[0].get_paths()[0].vertices
    for dim, least, greatest in zip(DIMS, *SPREAD[1:], strict=True):
        drawn = corners[corners[:, 0] == dim][:, 1]
        assert (drawn.min(), drawn.max()) == (least, greatest)
    assert axes.get_legend().get_texts()[0].get_text() == "dense, $d^{2.0}$"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_more_curves_than_colours_are_refused():
    with pytest.raises(ValueError, match="seconds: has 4 curves, a, b, c, d; at most 3"):
        cost_curves(DIMS, dict.fromkeys("abcd", SPREAD))


def test_moving_points_are_drawn_in_percent():
    (axes,) = moving_points({"teacher": [1.0, 0.5, 0.0], "student": [1.0, 0.0]}).axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0, 100], [1, 50], [2, 0]])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [100, 0])
