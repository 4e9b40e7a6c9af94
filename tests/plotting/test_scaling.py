"""Curves of cost draw the times and the power laws fitted to them."""

import numpy as np
import pytest

from flowlab.plotting import cost_curves, fitted_exponent

DIMS = np.array([1.0, 10.0, 100.0, 1000.0])
# 3 d^2 from d = 10 on; at d = 1 something else takes the time.
MEDIAN = np.array([50.0, 300.0, 30_000.0, 3_000_000.0])
SPREAD = (MEDIAN, 0.5 * MEDIAN, 2 * MEDIAN)


def test_the_exponent_of_a_power_law_is_found():
    assert fitted_exponent(DIMS, 7 * DIMS**2.5) == pytest.approx(2.5)


def test_median_spread_and_law_are_drawn():
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
    with pytest.raises(ValueError, match="3 curves apart, got 4: a, b, c, d"):
        cost_curves(DIMS, dict.fromkeys("abcd", SPREAD))
