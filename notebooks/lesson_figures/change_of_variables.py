"""The change of variables: where a map stretches lengths and areas, it lowers densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, BLUE, GREEN, GREY, VERMILION, format_log_axis, styled


@styled
def moved_mass(
    x_edges: ArrayLike,
    y_edges: ArrayLike,
    mass: ArrayLike,
    names: Sequence[str] = ("x", "y"),
    mark: int | None = None,
    density: tuple[ArrayLike, ArrayLike] | None = None,
    equal: bool = False,
) -> Figure:
    """Draw strips of probability before and after a map, of height mass / width, in panels with one scale.

    Arguments:
        x_edges: the ends of the strips, of shape (n + 1,).
        y_edges: the images of these ends.
        mass: the mass of each strip, of shape (n,); equal on both sides.
        names: the names of the two variables.
        mark: the strip to highlight.
        density: points and values of the exact density of y, drawn over the strips.
        equal: give both axes the same scale, so a square looks like a square.

    Example:
        >>> from lesson_figures import moved_mass
        >>> figure = moved_mass([0.0, 0.5, 1.0], [1.0, 2.0, 3.0], [0.5, 0.5])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['x: area 1.00', 'y: area 1.00']
    """
    mass = np.asarray(mass, dtype=float)
    edges = [np.asarray(each, dtype=float) for each in (x_edges, y_edges)]
    margin = 0.06 * max(np.ptp(each) for each in edges)
    figure = Figure(figsize=(7.5, 3.0))
    space = {"width_ratios": [np.ptp(each) + 2 * margin for each in edges], "wspace": 0.12, "bottom": 0.16, "top": 0.9}
    panels = figure.subplots(1, 2, sharey=True, gridspec_kw=space)
    for axes, ends, name, colour in zip(panels, edges, names, (GREEN, BLUE), strict=True):
        heights = mass / np.abs(np.diff(ends))
        bars = axes.bar(ends[:-1], heights, np.diff(ends), align="edge", color=colour, alpha=0.5, edgecolor="white")
        if mark is not None:
            bars[mark].set(facecolor=VERMILION, alpha=0.9)
        area = float((heights * np.abs(np.diff(ends))).sum())
        axes.set(title=f"{name}: area {area:.2f}", xlabel=name, xlim=(ends.min() - margin, ends.max() + margin))
        axes.set_aspect("equal" if equal else "auto")
    if density is not None:
        panels[1].plot(*map(np.asarray, density), color=BLACK, label="exact density")
        panels[1].legend(loc="upper right")
    panels[0].set_ylabel("density")
    return figure


@styled
def local_mass(
    maps: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]],
    intervals: Sequence[tuple[int, int]],
    titles: Sequence[str],
) -> Figure:
    r"""Draw maps with the mass over an interval dx below the curve and the equal mass over its image dy at the left.

    Arguments:
        maps: for each panel x, y = f(x), the density of x and the density of y at these points, all of shape (n,).
        intervals: for each panel the first and the last index of dx in these arrays.
        titles: a title for each panel.

    Example:
        >>> import numpy as np
        >>> from lesson_figures import local_mass
        >>> x = np.linspace(0.0, 1.0, 11)
        >>> figure = local_mass([(x, 2 * x, np.ones(11), np.full(11, 0.5))], [(2, 4)], ["y = 2x"])
        >>> [text.get_text() for axes in figure.axes for text in axes.texts]
        ['dx', 'dy', 'density of x\nmass 0.200', 'density of y\nmass 0.200']
    """
    figure = Figure(figsize=(4.2 * len(maps), 3.9))
    places = figure.add_gridspec(1, len(maps), left=0.13 / len(maps), right=0.99, bottom=0.11, top=0.93, wspace=0.18)
    for column, (arrays, ends, title) in enumerate(zip(maps, intervals, titles, strict=True)):
        _draw_local_mass(figure, places[0, column], [np.asarray(each, dtype=float) for each in arrays], ends, title)
    return figure


@styled
def parallelogram(square: ArrayLike, image: ArrayLike, areas: Sequence[float]) -> Figure:
    """Draw a square and its image under a matrix, a parallelogram, with arrows along the two sides at the origin.

    Arguments:
        square: its corners in order around it, starting at the origin, of shape (4, 2).
        image: the images of these corners, of shape (4, 2).
        areas: the areas of both.

    Example:
        >>> from lesson_figures import parallelogram
        >>> square, image = [[0, 0], [1, 0], [1, 1], [0, 1]], [[0, 0], [2, 1], [2, 2], [0, 1]]
        >>> [axes.get_title(loc="left") for axes in parallelogram(square, image, (1, 2)).axes]
        ['x: area 1.00', 'y: area 2.00']
    """
    corners = [np.asarray(each, dtype=float) for each in (square, image)]
    every = np.concatenate(corners)
    margin = 0.2 * np.ptp(every, axis=0).max()
    (left, bottom), (right, top) = every.min(axis=0) - margin, every.max(axis=0) + margin
    figure = Figure(figsize=(7.5, 3.4))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, points, name, colour, area in zip(panels, corners, "xy", (GREEN, BLUE), areas, strict=True):
        axes.add_patch(Polygon(points, facecolor=colour, alpha=0.4))
        for side, ink in ((points[1], VERMILION), (points[3], BLACK)):
            arrow = {"arrowstyle": "-|>", "color": ink, "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", xy=side, xytext=points[0], arrowprops=arrow)
        middle = points.mean(axis=0)
        for x, y in points:
            beside, above = ("left", 4) if x > middle[0] else ("right", -4), 4 if y > middle[1] else -4
            axes.annotate(
                f"({x:.3g}, {y:.3g})",
                (x, y),
                xytext=(beside[1], above),
                textcoords="offset points",
                ha=beside[0],
                va="bottom" if above > 0 else "top",
                fontsize=8,
            )
        axes.set(title=f"{name}: area {area:.2f}", xlabel=f"{name}1", ylabel=f"{name}2")
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        axes.tick_params(labelleft=True)
    return figure


@styled
def linearisation(
    grids: tuple[ArrayLike, ArrayLike],
    patches: tuple[ArrayLike, ArrayLike],
    corners: ArrayLike,
    sides: ArrayLike,
    errors: ArrayLike,
) -> Figure:
    """Draw a grid before and after a map on one scale, the linear map's parallelogram, and its error against its size.

    Arguments:
        grids: lines before and after the map, each of shape (lines, n, 2).
        patches: the boundary of a small square and of its image, each of shape (m, 2).
        corners: the corners of the square's image under the linear map, of shape (4, 2).
        sides: the sides of shrinking squares, of shape (k,).
        errors: relative differences between the ratio of areas and |det J|, of shape (k,).

    Example:
        >>> import numpy as np
        >>> from lesson_figures import linearisation
        >>> lines, square = np.zeros((3, 5, 2)), np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        >>> figure = linearisation((lines, lines), (square, square), square, [1.0, 0.1], [0.3, 0.03])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['before', 'after', 'error of the linear map']
    """
    figure = Figure(figsize=(9.6, 3.5))
    space = {"wspace": 0.3, "left": 0.06, "right": 0.985, "bottom": 0.14, "top": 0.91}
    before, after, shrinking = figure.subplots(1, 3, gridspec_kw=space)
    every = np.concatenate([np.reshape(each, (-1, 2)) for each in (*grids, *patches, corners)])
    (left, bottom), (right, top) = every.min(axis=0), every.max(axis=0)
    margin = 0.06 * max(right - left, top - bottom)
    xlim, ylim = (left - margin, right + margin), (bottom - margin, top + 4 * margin)  # the legend is at the top
    for axes, lines, patch, name, title in zip((before, after), grids, patches, "xy", ("before", "after"), strict=True):
        axes.add_collection(LineCollection(list(np.asarray(lines, dtype=float)), colors=GREY, linewidths=0.7))
        axes.add_patch(Polygon(np.asarray(patch), facecolor=BLUE, alpha=0.6, label="a square, and its image"))
        axes.set(title=title, xlabel=f"{name}1", ylabel=f"{name}2", xlim=xlim, ylim=ylim, aspect="equal")
    outline = Polygon(np.asarray(corners), fill=False, edgecolor=VERMILION, lw=1.6, label="by the linear map")
    after.add_patch(outline)
    after.legend(loc="upper left", fontsize=7.5)
    sides, errors = np.asarray(sides, dtype=float), np.asarray(errors, dtype=float)
    shrinking.loglog(sides, errors, "o", ms=4, color=BLUE, label="measured")
    smallest = np.argmin(sides)
    shrinking.loglog(sides, errors[smallest] * sides / sides[smallest], color=GREY, ls="--", lw=1, label="slope 1")
    for axis, values in ((shrinking.xaxis, sides), (shrinking.yaxis, errors)):
        format_log_axis(axis, values.min(), values.max())
    shrinking.set(title="error of the linear map", xlabel="side of the square", ylabel="relative error of the area")
    shrinking.legend(loc="upper left")
    return figure


def _draw_local_mass(
    figure: Figure, place: SubplotSpec, arrays: Sequence[np.ndarray], ends: tuple[int, int], title: str
) -> None:
    """Draw one map: its curve, the density of x below and the density of y at the left, with the interval shaded."""
    x, y, x_density, y_density = arrays
    part = slice(ends[0], ends[1] + 1)
    space = {"width_ratios": (1, 2.6), "height_ratios": (2.6, 1), "wspace": 0.06, "hspace": 0.08}
    grid = place.subgridspec(2, 2, **space)
    curve = figure.add_subplot(grid[0, 1])
    below = figure.add_subplot(grid[1, 1], sharex=curve)
    left = figure.add_subplot(grid[0, 0], sharey=curve)
    curve.plot(x, y, color=BLACK)
    low, high = min(y[part]), max(y[part])
    curve.axvspan(x[part][0], x[part][-1], color=GREEN, alpha=0.25, lw=0)
    curve.axhspan(low, high, color=BLUE, alpha=0.25, lw=0)
    curve.set(title=title, xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    curve.tick_params(labelbottom=False, labelleft=False)
    inside: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
    curve.text(x[part].mean(), y.min() + 0.94 * np.ptp(y), "dx", **inside)
    curve.text(x.min() + 0.94 * np.ptp(x), (low + high) / 2, "dy", **inside)
    below.plot(x, x_density, color=GREEN)
    below.fill_between(x[part], x_density[part], color=GREEN, alpha=0.5, lw=0)
    below.set(xlabel="x", ylim=(0, 1.3 * x_density.max()))
    left.plot(y_density, y, color=BLUE)
    left.fill_betweenx(y[part], y_density[part], color=BLUE, alpha=0.5, lw=0)
    left.set(ylabel="y", xlim=(1.15 * y_density.max(), 0))
    left.xaxis.set_major_locator(MaxNLocator(3, prune="lower"))  # a 0 would touch the panel below
    _write_mass(below, "x", x[part], x_density[part])
    _write_mass(left, "y", y[part], y_density[part])


def _write_mass(axes: Axes, name: str, places: np.ndarray, density: np.ndarray) -> None:
    text = f"density of {name}\nmass {abs(np.trapezoid(density, places)):.3f}"
    axes.text(0.03, 0.97, text, transform=axes.transAxes, ha="left", va="top", fontsize=7.5)
