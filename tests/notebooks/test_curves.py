"""Loss curves draw the data that they are given."""

import numpy as np
import pytest
from lesson_figures import loss_and_points, loss_curves

from flowlab.plotting.figures import BLUE

STEPS = [0, 10, 20]
LOSSES = np.array([[9.0, 7.0, 5.0], [8.0, 6.5, 6.0], [10.0, 9.0, 4.5]])


def lines_of(figure):
    return {line.get_label(): line for line in figure.axes[0].lines if not line.get_label().startswith("_")}


def test_every_run_and_the_median_are_drawn():
    figure = loss_curves(STEPS, LOSSES)
    runs = [line for line in figure.axes[0].lines if line.get_color() == BLUE]
    np.testing.assert_array_equal([line.get_ydata() for line in runs], LOSSES)
    assert all(list(line.get_xdata()) == STEPS for line in runs)
    lines = lines_of(figure)
    np.testing.assert_array_equal(lines["median"].get_ydata(), [9.0, 7.0, 5.0])
    assert list(lines) == ["3 runs", "median"]
    assert lines["median"].get_zorder() < lines["3 runs"].get_zorder()  # it hides no run


def test_levels_and_points_are_drawn_by_name():
    lines = lines_of(loss_curves(STEPS, LOSSES, {"entropy": 4.2}, {"published": ([5, 15], [8.8, 6.1])}))
    assert set(lines["entropy"].get_ydata()) == {4.2}
    np.testing.assert_array_equal(lines["published"].get_xydata(), [[5, 8.8], [15, 6.1]])


def test_a_loss_that_is_not_finite_is_not_drawn_and_counts_as_the_largest():
    losses = LOSSES.copy()
    losses[0, 1], losses[1, 2], losses[2, 2] = np.inf, np.nan, np.inf
    figure = loss_curves(STEPS, losses)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [9.0, np.nan, 5.0])
    np.testing.assert_array_equal(lines_of(figure)["median"].get_ydata(), [9.0, 9.0, np.nan])
    assert np.isnan(loss_curves(STEPS, LOSSES * np.nan).axes[0].lines[0].get_ydata()).all()


@pytest.mark.parametrize(
    ("factor", "levels", "points", "scale"),
    [
        (1, None, None, "linear"),
        (1, {"low": 0.1}, None, "log"),
        (1, None, {"high": ([0], [1e7])}, "log"),
        (1, {"low": -0.1}, {"high": ([0], [1e7])}, "symlog"),
        (1, {"low": -5.0}, None, "linear"),
        (-1, None, None, "linear"),
    ],
)
def test_all_values_decide_the_scale_of_the_axis(factor, levels, points, scale):
    assert loss_curves(STEPS, factor * LOSSES, levels, points).axes[0].get_yscale() == scale


def test_one_run_is_one_row():
    assert list(lines_of(loss_curves(STEPS, LOSSES[:1]))) == ["1 run", "median"]
    with pytest.raises(ValueError, match=r"\(3,\); must have shape \(runs, 3\)"):
        loss_curves(STEPS, LOSSES[0])
    with pytest.raises(ValueError, match="must have shape"):
        loss_curves(STEPS, LOSSES.T[:, :2])


def test_loss_curve_draws_points_above_the_curve_at_the_upper_edge():
    printed = [1e4, 2e4, 3e4, 4e4], [200.5, 6.1, 5.5, 4.5]
    (axes,) = loss_and_points([100, 1000], [6.0, 5.0], [], [], 4.2, {"elsewhere": printed}).axes
    below, above = axes.lines[-2:]
    np.testing.assert_array_equal(below.get_xydata(), [[3e4, 5.5], [4e4, 4.5]])
    np.testing.assert_array_equal(above.get_xydata(), [[1e4, 6.0], [2e4, 6.0]])
    assert below.get_label() == "elsewhere"
    assert [text.get_text() for text in axes.texts] == ["200.5", "6.1"]
    assert (axes.get_xscale(), axes.get_ylim()[1]) == ("log", 6.0)
