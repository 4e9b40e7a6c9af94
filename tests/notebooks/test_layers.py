"""Figures of a flow's layers draw the images that they are given, in one scale, and keep the mass of each cell."""

import numpy as np
import pytest
from lesson_figures import between, layer_grids, transported_density
from lesson_figures.layers import cell_areas
from matplotlib.colors import to_rgba

from flowlab.plotting.figures import QUADRANT_COLOURS

AXIS = np.linspace(-1, 1, 25)
GRID = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), -1)
POINTS = np.random.default_rng(0).uniform(-1, 1, (200, 2))
BENT = GRID + np.stack([np.zeros_like(GRID[..., 0]), GRID[..., 0] ** 2], -1)  # keeps areas
BOUNDS = ((-4.0, 4.0), (-2.0, 2.0))


def test_layer_grids_share_a_scale_that_shows_nearly_all_points():
    figure = layer_grids([GRID, 3 * GRID, BENT], [POINTS, 3 * POINTS, POINTS], ["base", "1", "2"], columns=2)
    *panels, empty = figure.axes
    assert {(axes.get_xlim(), axes.get_ylim()) for axes in panels} == {(panels[0].get_xlim(), panels[0].get_ylim())}
    assert 2.5 < panels[0].get_xlim()[1] < 3.5
    assert not empty.axison
    np.testing.assert_array_equal(panels[1].collections[0].get_offsets(), 3 * POINTS)
    np.testing.assert_array_equal(panels[2].lines[0].get_xydata(), BENT[0])
    colours = panels[1].collections[0].get_facecolors()
    right_below = (POINTS[:, 0] > 0) & (POINTS[:, 1] < 0)
    assert (colours[right_below] == to_rgba(QUADRANT_COLOURS[1])).all()


def test_areas_are_those_of_the_quadrilaterals():
    np.testing.assert_allclose(cell_areas(GRID), (2 / 24) ** 2)
    np.testing.assert_allclose(cell_areas(BENT), (2 / 24) ** 2)
    np.testing.assert_allclose(cell_areas(GRID @ np.array([[2.0, 0.5], [0.3, 1.0]])), 1.85 * (2 / 24) ** 2)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_transported_density_keeps_its_mass(factor):
    mass = np.full((24, 24), 1 / 576)
    (axes,) = transported_density(factor * GRID, mass, BOUNDS, 0.25, "a title").axes
    mesh = axes.collections[0]
    np.testing.assert_allclose(mesh.get_array(), 0.25 / factor**2)
    assert mesh.get_clim() == (0, 0.25)
    assert (axes.get_xlim(), axes.get_ylim()) == BOUNDS


def test_between_goes_from_image_to_image():
    frames = between([GRID, 2 * GRID, BENT], steps=4)
    assert [layer for layer, _ in frames] == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    np.testing.assert_allclose(frames[2][1], 1.5 * GRID)
    np.testing.assert_array_equal(frames[4][1], 2 * GRID)
    np.testing.assert_allclose(frames[-1][1], BENT)
