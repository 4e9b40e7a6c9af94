"""Figures of a run draw the given data."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from flowlab.plotting import (
    deformation,
    density_pair,
    loss_curve,
    save_figure,
    scatter_pair,
)
from flowlab.plotting.figures import QUADRANT_COLOURS, scatter_grid

BOUNDS = ((-3.0, 3.0), (-2.0, 2.0))
rng = np.random.default_rng(0)
LEFT, RIGHT = rng.normal(size=(50, 2)), rng.normal(size=(60, 2))


def test_scatter_pair_draws_both_sets():
    figure = scatter_pair(LEFT, RIGHT, BOUNDS, titles=("a", "b"), columns=("u", "v"))
    first, second = figure.axes
    np.testing.assert_array_equal(first.collections[0].get_offsets(), LEFT)
    np.testing.assert_array_equal(second.collections[0].get_offsets(), RIGHT)
    for axes in (first, second):
        assert axes.get_xlim() == BOUNDS[0]
        assert axes.get_ylim() == BOUNDS[1]
        assert axes.get_xlabel() == "u"
    assert first.get_ylabel() == "v"
    assert first.get_title(loc="left") == "a (50 points)"


def test_scatter_grid_draws_every_pair_of_columns():
    left, right = rng.normal(size=(50, 8)), rng.normal(size=(50, 8))
    figure = scatter_grid(left, right, ((-3.0, 3.0),) * 8, columns=list("abcdefgh"), note="a note")
    panels = np.array(figure.axes).reshape(6, 6)
    for (row, column), axes in np.ndenumerate(panels):
        if row != column:
            points = left if row > column else right
            np.testing.assert_array_equal(axes.collections[0].get_offsets(), points[:, [column, row]])
    assert [axes.get_xlabel() for axes in panels[-1]] == [axes.get_ylabel() for axes in panels[:, 0]] == list("abcdef")
    title = figure.get_suptitle()
    assert "target (50 points); above: samples of the flow (50 points); the first 6 of 8 columns\na note" in title


@pytest.mark.filterwarnings("error")
def test_histograms_of_points_outside_of_the_axes_are_empty():
    inside, outside = np.random.default_rng(0).uniform(-1, 1, (200, 2)), np.full((200, 2), 9.0)
    figure = scatter_grid(inside, outside, ((-2.0, 2.0),) * 2, columns=["a", "b"])
    figure.canvas.draw()
    areas = [0.1 * line.get_xy()[1:-1:2, 1].sum() for line in figure.axes[0].patches]
    np.testing.assert_allclose(areas, [1.0, 0.0])


def test_scatter_pair_of_one_coordinate_is_two_histograms():
    figure = scatter_pair(LEFT[:, :1], RIGHT[:, :1], BOUNDS[:1], columns=("u",))
    assert all(len(axes.patches) == 60 for axes in figure.axes)


def test_density_pair_draws_x1_along_the_horizontal_axis_in_one_scale():
    left = np.zeros((30, 20))
    left[25, 3] = 2.0  # large x1, small x2
    right = np.full((30, 20), 0.5)
    figure = density_pair(left, right, BOUNDS)
    first, second = (axes.collections[0] for axes in figure.axes[:2])
    np.testing.assert_array_equal(first.get_array(), left.T)
    np.testing.assert_array_equal(second.get_array(), right.T)
    assert first.get_clim() == second.get_clim() == (0, 2.0)


def test_density_pair_names_the_coordinates_of_each_panel():
    density = np.full((30, 20), 0.5)
    for right_columns, names in ((None, ["u", "u"]), (("s", "t"), ["u", "s"])):
        figure = density_pair(density, density, BOUNDS, columns=("u", "v"), right_columns=right_columns)
        assert [axes.get_xlabel() for axes in figure.axes[:2]] == names
        assert [axes.get_ylabel() for axes in figure.axes[:2]] == ["v", right_columns[1] if right_columns else ""]


def test_deformation_colours_points_by_their_first_quadrant():
    start = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    figure = deformation([start, -start], ["base", "turned"])
    for axes, layer in zip(figure.axes, (start, -start), strict=True):
        points = axes.collections[0]
        np.testing.assert_array_equal(points.get_offsets(), layer)
        np.testing.assert_allclose(points.get_facecolors(), [to_rgba(colour) for colour in QUADRANT_COLOURS])


def test_deformation_survives_points_that_are_not_finite():
    start = rng.normal(size=(10, 2))
    assert len(deformation([start, start * np.nan, start * np.inf], ["a", "b", "c"]).axes) == 3


def test_loss_curve_draws_the_loss_the_held_out_nll_and_the_entropy():
    figure = loss_curve([1, 2, 3], [9.0, 6.0, 5.0], [3], [5.1], entropy=4.2)
    curve, points, line = figure.axes[0].lines
    np.testing.assert_array_equal(curve.get_xydata(), [[1, 9], [2, 6], [3, 5]])
    np.testing.assert_array_equal(points.get_xydata(), [[3, 5.1]])
    assert set(line.get_ydata()) == {4.2}
    assert figure.axes[0].get_yscale() == "linear"
    assert loss_curve([1, 2], [1e7, 5.0]).axes[0].get_yscale() == "log"


def test_save_figure_is_reproducible_and_keeps_the_callers_style(tmp_path):
    before = dict(matplotlib.rcParams)
    for name in ("a.png", "b.png"):
        save_figure(scatter_pair(LEFT, RIGHT, BOUNDS), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert dict(matplotlib.rcParams) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("draw", [scatter_pair, scatter_grid, density_pair])
def test_figures_do_not_change_their_data(draw):
    left, right = (np.abs(LEFT[:20]), np.abs(RIGHT[:20])) if draw is density_pair else (LEFT, RIGHT)
    copies = left.copy(), right.copy()
    draw(left, right, BOUNDS)
    np.testing.assert_array_equal(left, copies[0])
    np.testing.assert_array_equal(right, copies[1])
