"""The family of architectures draws maps, dependences and passes; warped grids draw both kinds of lines."""

import numpy as np
from lesson_figures import Relative, relatives, spline_map, warped_grids
from matplotlib.colors import to_rgba

from flowlab.plotting.figures import BLUE, VERMILION

POINTS = np.linspace(-2, 2, 5)
LOWER = np.tril(np.ones((3, 3), dtype=bool))


def test_relatives_draws_map_dependences_and_passes():
    family = [
        Relative("NICE", [POINTS + 1], np.eye(3, dtype=bool), sample=1, score=1),
        Relative("MAF", [2 * POINTS, POINTS - 1], LOWER, sample=3, score=1),
    ]
    figure = relatives(POINTS, family)
    maps, dependences, passes = figure.axes[:2], figure.axes[2:4], figure.axes[4:]
    assert [axes.get_title(loc="left") for axes in maps] == ["NICE", "MAF"]
    np.testing.assert_allclose(maps[1].lines[1].get_ydata(), 2 * POINTS)
    np.testing.assert_array_equal(dependences[1].images[0].get_array(), [[2, 0, 0], [1, 2, 0], [1, 1, 2]])
    bars = [(bar.get_width(), bar.get_facecolor()) for bar in passes[1].patches]
    assert bars == [(3, to_rgba(VERMILION)), (1, to_rgba(BLUE))]
    assert [text.get_text() for text in passes[1].texts] == ["3", "1"]


def test_warped_grids_draws_lines_of_both_directions():
    grid = np.stack(np.meshgrid(POINTS, POINTS, indexing="ij"), -1)
    figure = warped_grids([grid, grid + np.array([0, 1])], ["before", "after"])
    lines = figure.axes[1].lines
    assert len(lines) == 2 * len(POINTS)
    np.testing.assert_allclose(lines[0].get_xydata(), grid[0] + np.array([0, 1]))  # x1 fixed: vertical
    assert lines[0].get_color() == VERMILION
    np.testing.assert_allclose(lines[1].get_xydata(), grid[:, 0] + [0, 1])
    assert lines[1].get_color() == BLUE


def test_spline_map_draws_map_box_and_both_densities():
    figure = spline_map(POINTS, POINTS**3, POINTS**2, np.abs(POINTS), bound=1.5)
    left, right = figure.axes
    assert left.patches[0].get_bbox().extents.tolist() == [-1.5, -1.5, 1.5, 1.5]
    np.testing.assert_allclose(left.lines[0].get_xydata(), np.column_stack([POINTS, POINTS**3]))
    base, image = right.lines
    np.testing.assert_allclose(base.get_xydata(), np.column_stack([POINTS, np.abs(POINTS)]))
    np.testing.assert_allclose(image.get_xydata(), np.column_stack([POINTS**3, POINTS**2]))
