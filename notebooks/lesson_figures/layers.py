"""Through the layers of a flow: what each layer does to a grid, and how a density changes on the way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import DENSITY_COLOURS, GREY, QUADRANT_COLOURS, Bounds, styled


@styled
def layer_grids(
    grids: Sequence[ArrayLike], points: Sequence[ArrayLike], titles: Sequence[str], columns: int = 4
) -> Figure:
    """Draw a grid and points before the first layer and after each layer, in panels with one scale.

    A point has the colour of the quadrant in which it starts. The scale shows at least 94% of the points of each panel.

    Arguments:
        grids: the images of a square grid, each of shape (m, m, 2); the first index runs along x1.
        points: the images of the points, each of shape (n, 2).
        titles: a title for each panel.
        columns: panels in a row.

    Example:
        >>> import numpy as np
        >>> from lesson_figures import layer_grids
        >>> grid = np.stack(np.meshgrid([0, 1, 2], [0, 1, 2], indexing="ij"), -1)
        >>> figure = layer_grids([grid, 2 * grid], [grid[1], 2 * grid[1] + grid[2]], ["base", "1"])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['base', '1']
    """
    clouds = [np.asarray(each, dtype=float) for each in points]
    colours = np.asarray(QUADRANT_COLOURS)[(clouds[0][:, 0] > 0) + 2 * (clouds[0][:, 1] > 0)]
    ends = np.quantile(clouds, [0.015, 0.985], axis=1)  # of each panel, since most of them may be much smaller
    low, high = ends[0].min(axis=0), ends[1].max(axis=0)
    margin = 0.06 * (high - low)
    width, height = high - low + 2 * margin
    columns = min(columns, len(clouds))
    rows = -(-len(clouds) // columns)
    size = (2.5 * columns, (2.3 * min(height / width, 1.5) + 0.4) * rows)
    figure = Figure(figsize=size)
    space = {"left": 0.055, "right": 0.995, "bottom": 0.08, "top": 0.95, "wspace": 0.08, "hspace": 0.3}
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=space).ravel()
    for axes, grid, cloud, title in zip(panels, grids, clouds, titles, strict=False):
        _draw_grid(axes, np.asarray(grid, dtype=float))
        axes.scatter(*cloud.T, s=3, c=colours, linewidths=0, rasterized=True, zorder=2)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=7, length=2)
        axes.set(
            xlim=(low[0] - margin[0], high[0] + margin[0]),
            ylim=(low[1] - margin[1], high[1] + margin[1]),
            aspect="equal",
        )
        axes.set_xlabel("x1" if axes.get_subplotspec().is_last_row() else "", fontsize=8)
        axes.set_ylabel("x2" if axes.get_subplotspec().is_first_col() else "", fontsize=8)
    for axes in panels[len(clouds) :]:
        axes.set_axis_off()
    return figure


@styled
def transported_density(grid: ArrayLike, mass: ArrayLike, bounds: Bounds, highest: float, title: str) -> Figure:
    """Draw cells of constant mass where a map has moved them: the density of a cell is its mass over its area.

    Arguments:
        grid: the images of the corners of the cells, of shape (m + 1, m + 1, 2); the first index runs along x1.
        mass: the mass of each cell, of shape (m, m).
        bounds: the interval of each axis.
        highest: the density at which the colours end.
        title: the title.

    Example:
        >>> import numpy as np
        >>> from lesson_figures import transported_density
        >>> grid = np.stack(np.meshgrid([0, 2], [0, 1], indexing="ij"), -1)
        >>> figure = transported_density(grid, [[1.0]], ((0, 3), (0, 3)), 1.0, "twice as wide")
        >>> figure.axes[0].collections[0].get_array().tolist()
        [[0.5]]
    """
    corners = np.asarray(grid, dtype=float)
    density = np.asarray(mass, dtype=float) / np.maximum(cell_areas(corners), 1e-12)
    (left, right), (bottom, top) = bounds
    figure = Figure(figsize=(4.6, min(0.5 + 4.0 * (top - bottom) / (right - left), 4.0)))
    axes = figure.subplots(gridspec_kw={"left": 0.13, "bottom": 0.16, "top": 0.9})
    axes.pcolormesh(
        corners[..., 0], corners[..., 1], density, cmap=DENSITY_COLOURS, vmin=0, vmax=highest, rasterized=True
    )
    _draw_grid(axes, corners, width=0.25)
    axes.set(title=title, xlabel="x1", ylabel="x2", xlim=bounds[0], ylim=bounds[1])
    return figure


def cell_areas(corners: np.ndarray) -> np.ndarray:
    """The areas of the cells of a warped grid of shape (m + 1, m + 1, 2), by the shoelace formula; shape (m, m)."""
    first, second = corners[1:, 1:] - corners[:-1, :-1], corners[:-1, 1:] - corners[1:, :-1]  # the two diagonals
    return 0.5 * np.abs(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])


def between(images: Sequence[ArrayLike], steps: int) -> list[tuple[int, np.ndarray]]:
    """Return the images of points after each layer, with equal steps from each image to the next.

    Arguments:
        images: the points before the first layer and after each layer, each of one shape.
        steps: steps for each layer.

    Returns:
        for each step the number of layers that the points have entered, and the points.

    Example:
        >>> from lesson_figures import between
        >>> [(layer, points.tolist()) for layer, points in between([[0.0], [1.0]], steps=2)]
        [(0, [0.0]), (1, [0.5]), (1, [1.0])]
    """
    arrays = [np.asarray(each, dtype=float) for each in images]
    frames = [(0, arrays[0])]
    for layer, (start, end) in enumerate(pairwise(arrays), start=1):
        frames += [(layer, start + (end - start) * step / steps) for step in range(1, steps + 1)]
    return frames


def _draw_grid(axes: Axes, grid: np.ndarray, width: float = 0.5) -> None:
    """Draw about 9 lines in each direction."""
    every = max(1, (len(grid) - 1) // 8)
    for line in range(0, len(grid), every):
        axes.plot(*grid[line].T, color=GREY, lw=width, zorder=1)
        axes.plot(*grid[:, line].T, color=GREY, lw=width, zorder=1)
