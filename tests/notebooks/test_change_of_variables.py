"""The figures of the change of variables draw the data that they are given."""

import numpy as np
import pytest
from lesson_figures import linearisation, local_mass, moved_mass, parallelogram
from matplotlib.colors import to_rgb

from flowlab.plotting.figures import VERMILION

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
IMAGE = SQUARE @ np.array([[2.0, 0.5], [0.3, 1.0]])


def strips(axes):
    return np.array([[bar.get_x(), bar.get_width(), bar.get_height()] for bar in axes.patches])


def test_moved_mass_draws_strips_of_equal_mass_on_both_sides():
    figure = moved_mass([0.0, 0.5, 1.0], [1.0, 2.0, 5.0], [0.4, 0.6], ("u", "v"), mark=1)
    before, after = figure.axes
    np.testing.assert_allclose(strips(before), [[0.0, 0.5, 0.8], [0.5, 0.5, 1.2]])
    np.testing.assert_allclose(strips(after), [[1.0, 1.0, 0.4], [2.0, 3.0, 0.2]])
    assert [to_rgb(bar.get_facecolor()) == to_rgb(VERMILION) for bar in after.patches] == [False, True]
    assert [axes.get_xlabel() for axes in figure.axes] == ["u", "v"]
    assert after.get_title(loc="left") == "v: area 1.00"


def test_moved_mass_draws_both_panels_with_one_scale():
    figure = moved_mass([0.0, 1.0], [1.0, 3.0], [1.0])
    scales = [axes.bbox.width / np.ptp(axes.get_xlim()) for axes in figure.axes]
    assert scales[0] == pytest.approx(scales[1])
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_moved_mass_draws_a_square_as_a_square_with_equal_axes():
    figure = moved_mass([0.0, 1.0], [1.0, 3.0], [1.0], equal=True)
    figure.draw_without_rendering()  # fits the panels to their aspect
    before, after = figure.axes
    square, rectangle = (axes.patches[0].get_window_extent() for axes in figure.axes)
    assert square.width == pytest.approx(square.height)
    assert rectangle.width == pytest.approx(2 * square.width)
    assert rectangle.height == pytest.approx(square.height / 2)
    assert before.bbox.height == pytest.approx(after.bbox.height)


def test_moved_mass_keeps_the_area_under_a_decreasing_map():
    figure = moved_mass([0.0, 0.5, 1.0], [1.0, 0.0, -1.0], [0.5, 0.5], density=([-1.0, 1.0], [0.5, 0.5]))
    after = figure.axes[1]
    np.testing.assert_allclose([bar.get_height() for bar in after.patches], [0.5, 0.5])
    assert after.get_title(loc="left") == "y: area 1.00"
    np.testing.assert_array_equal(after.lines[0].get_xydata(), [[-1.0, 0.5], [1.0, 0.5]])


@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_local_mass_shades_the_same_mass_on_both_axes(slope):
    x = np.linspace(0.0, 1.0, 101)
    y, x_density, y_density = slope * x, 2 * x, x  # the density 2x, divided by the stretch of 2
    figure = local_mass([(x, y, x_density, y_density)], [(20, 30)], ["a map"])
    curve, below, left = figure.axes
    np.testing.assert_array_equal(curve.lines[0].get_xydata(), np.column_stack([x, y]))
    np.testing.assert_array_equal(below.lines[0].get_xydata(), np.column_stack([x, x_density]))
    np.testing.assert_array_equal(left.lines[0].get_xydata(), np.column_stack([y_density, y]))
    dx, dy = (patch.get_window_extent().transformed(curve.transData.inverted()) for patch in curve.patches)
    np.testing.assert_allclose([dx.x0, dx.x1], [0.2, 0.3])
    np.testing.assert_allclose([dy.y0, dy.y1], sorted([slope * 0.2, slope * 0.3]))
    # The density 2x has the mass 0.3^2 - 0.2^2 between 0.2 and 0.3.
    assert [axes.texts[0].get_text().splitlines()[1] for axes in (below, left)] == ["mass 0.050"] * 2
    for axes, along in ((below, 0), (left, 1)):
        shaded = axes.collections[0].get_paths()[0].vertices[:, along]
        np.testing.assert_allclose(np.ptp(shaded), 0.1 if along == 0 else 0.2)


def test_parallelogram_draws_both_shapes_with_their_vertices():
    figure = parallelogram(SQUARE, IMAGE, (1.0, 1.85))
    for axes, corners in zip(figure.axes, (SQUARE, IMAGE), strict=True):
        np.testing.assert_array_equal(axes.patches[0].get_xy()[:4], corners)
        assert axes.get_aspect() == 1
    said = [text.get_text() for text in figure.axes[1].texts]
    assert "(2.3, 1.5)" in said
    assert figure.axes[1].get_title(loc="left") == "y: area 1.85"


def test_linearisation_draws_lines_patches_and_errors():
    lines = np.random.default_rng(0).normal(size=(3, 5, 2))
    corners = IMAGE + 0.1
    sides, errors = np.array([1.0, 0.1, 0.01]), np.array([0.5, 0.04, 0.004])
    figure = linearisation((lines, 2 * lines), (SQUARE, IMAGE), corners, sides, errors)
    before, after, shrinking = figure.axes
    for axes, drawn, patch in ((before, lines, SQUARE), (after, 2 * lines, IMAGE)):
        np.testing.assert_allclose(axes.collections[0].get_segments(), drawn)
        np.testing.assert_array_equal(axes.patches[0].get_xy()[:4], patch)
    np.testing.assert_array_equal(after.patches[1].get_xy()[:4], corners)
    assert (before.get_xlim(), before.get_ylim()) == (after.get_xlim(), after.get_ylim())
    measured, slope = shrinking.lines
    np.testing.assert_array_equal(measured.get_xydata(), np.column_stack([sides, errors]))
    np.testing.assert_allclose(slope.get_ydata(), 0.4 * sides)  # through the error at the smallest side
    assert (shrinking.get_xscale(), shrinking.get_yscale()) == ("log", "log")
