"""Groups of runs are drawn with their values, and with a cross where a run failed."""

import numpy as np
import pytest
from lesson_figures import curve_groups, saturation

from flowlab.plotting.figures import BLACK

STEPS = [1, 2, 4]
GROUPS = {"tanh": np.array([[1.0, 3.0, np.nan], [2.0, np.inf, np.nan]]), "prelu": np.array([[1.5, 1.2, 1.1]])}
AT_START = [1, 3], {"tanh": [[1.0, 40.0], [2.0, 60.0], [3.0, 90.0]], "prelu": [[1.5, 1.7]]}


def curves(axes):
    """Return the curves and the crosses."""
    lines = [line for line in axes.lines if line.get_marker() == "None"]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    return lines, crosses


def check_groups(axes):
    lines, crosses = curves(axes)
    np.testing.assert_array_equal(
        [line.get_ydata() for line in lines[:3]], [[1, 3, np.nan], [2, *[np.nan] * 2], [1.5, 1.2, 1.1]]
    )
    assert all(list(line.get_xdata()) == STEPS for line in lines[:3])
    np.testing.assert_array_equal([cross.get_xydata()[0] for cross in crosses], [[2, 3], [1, 2]])
    first, second, third = (line.get_color() for line in lines[:3])
    assert first == second != third
    assert {cross.get_color() for cross in crosses} == {first}
    assert axes.get_legend_handles_labels()[1][:2] == ["tanh", "prelu"]


def test_runs_are_drawn_by_group_with_crosses_where_they_failed():
    (axes,) = curve_groups(STEPS, GROUPS, "norm", {"limit": 2.5}).axes
    check_groups(axes)
    assert set(axes.lines[-1].get_ydata()) == {2.5}
    assert (axes.get_ylabel(), axes.get_yscale()) == ("norm", "linear")
    assert curve_groups(STEPS, {"wide": [[0.1, 1, 100]]}).axes[0].get_yscale() == "log"


def test_a_group_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"tanh: has shape \(3,\); must have shape \(runs, 3\)"):
        curve_groups(STEPS, {"tanh": [1.0, 2.0, 3.0]})


def test_saturation_draws_the_initial_gradients_by_depth():
    by_depth = saturation(*AT_START, STEPS, GROUPS, [0.1], {"tanh": [5.3]}).axes[0]
    tanh, prelu = by_depth.lines
    np.testing.assert_array_equal(tanh.get_xydata(), [[1, 2], [3, 60]])
    np.testing.assert_array_equal(prelu.get_xydata(), [[1, 1.5], [3, 1.7]])
    assert {tuple(corner) for corner in by_depth.collections[0].get_paths()[0].vertices} == {
        (1, 1), (1, 3), (3, 40), (3, 90)
    }  # fmt: skip
    assert by_depth.get_yscale() == "log"
    assert list(by_depth.get_xticks()) == [1, 3]


def test_saturation_draws_median_and_range_of_the_runs_that_have_not_failed():
    groups = {"tanh": [[1.0, 3.0, np.nan], [2.0, np.inf, np.nan], [6.0, 4.0, np.nan]], "prelu": [[1.5, 1.2, 1.1]]}
    left = saturation(*AT_START, STEPS, groups, [0.1], {"tanh": [5.3]}).axes[1]
    (tanh, prelu), crosses = curves(left)
    np.testing.assert_array_equal(tanh.get_xydata(), [[1, 2], [2, 3.5]])
    np.testing.assert_array_equal(prelu.get_xydata(), [[1, 1.5], [2, 1.2], [4, 1.1]])
    (cross,) = crosses  # where the last run failed, on the median
    np.testing.assert_array_equal(cross.get_xydata(), [[2, 3.5]])
    assert cross.get_color() == tanh.get_color() != prelu.get_color()
    assert cross.get_zorder() > max(tanh.get_zorder(), prelu.get_zorder())
    corners = [{tuple(corner) for corner in band.get_paths()[0].vertices} for band in left.collections]
    assert corners == [{(1, 1), (1, 6), (2, 3), (2, 4)}, {(1, 1.5), (2, 1.2), (4, 1.1)}]
    assert left.get_legend_handles_labels()[1] == ["tanh: 3 of 3 fail", "prelu"]


def test_saturation_draws_norms_and_slopes_in_the_same_colours():
    distances, slopes = [0.001, 0.1, 1.0], {"tanh": [500.0, 5.3, 1.0], "one tanh": [5e4, 50.0, 2.0]}
    _, left, right = saturation(*AT_START, STEPS, GROUPS, distances, slopes).axes
    for line, (name, values) in zip(right.lines, slopes.items(), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([distances, values]))
        assert line.get_label() == name
    wide, dashed = right.lines
    assert wide.get_color() == left.lines[0].get_color()
    assert dashed.get_color() == BLACK
    assert wide.get_linewidth() > 2 * dashed.get_linewidth()
    assert dashed.get_zorder() > wide.get_zorder()
    assert (wide.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert (right.get_xscale(), right.get_yscale(), left.get_xscale()) == ("log", "log", "log")


def test_points_are_drawn_and_a_linear_axis_ends_at_the_top():
    groups = {"high": [[1e6, 5.9]], "low": [[1e3, 4.4]]}
    figure = curve_groups([0, 10], groups, points={"printed": ([10], [4.5])}, top=9.0)
    (axes,) = figure.axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[1] == 9.0
    assert axes.lines[-1].get_xydata().tolist() == [[10, 4.5]]
