"""Coupling and autoregressive flows: what a layer does to a grid, and how the architectures are related."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, BLUE, GREEN, GREY, VERMILION, styled

CURVES = (BLUE, VERMILION, GREEN)
DEPENDENCE = ListedColormap(["white", "#b9d9ec", BLUE])  # independent, depends on another coordinate, on itself


@dataclass(frozen=True)
class Relative:
    """An architecture as a member of the family.

    Attributes:
        name: its name.
        curves: images of the points of `relatives` under its map, a row for each setting of parameters: (k, n), k <= 3.
        depends: whether coordinate i of a sample depends on coordinate j of the base: shape (d, d).
        sample, score: passes of the network to draw a sample, and to compute a density.
    """

    name: str
    curves: ArrayLike
    depends: ArrayLike
    sample: int
    score: int


@styled
def relatives(points: ArrayLike, family: Sequence[Relative]) -> Figure:
    """Draw a column for each architecture: its map, its dependences, and the passes that each direction takes.

    Arguments:
        points: where the curves of the maps are drawn, of shape (n,).
        family: the architectures.

    Example:
        >>> from lesson_figures import Relative, relatives
        >>> figure = relatives([0, 1], [Relative("NICE", [[0, 1]], [[1, 0], [1, 1]], sample=1, score=1)])
        >>> figure.axes[0].get_title(loc="left")
        'NICE'
    """
    points = np.asarray(points, dtype=float)
    figure = Figure(figsize=(1.75 * len(family) + 0.6, 5.2))
    left = 0.6 / (1.75 * len(family) + 0.6)
    places = {"left": left, "right": 0.99, "top": 0.95, "bottom": 0.08, "hspace": 0.42, "wspace": 0.18}
    rows = figure.subplots(3, len(family), squeeze=False, gridspec_kw={**places, "height_ratios": (1, 1, 0.6)})
    most = max(max(each.sample, each.score) for each in family)
    for number, each in enumerate(family):
        top, middle, bottom = rows[:, number]
        top.plot(points, points, color=GREY, ls="--", lw=0.8)
        for curve, colour in zip(np.asarray(each.curves, dtype=float), CURVES, strict=False):
            top.plot(points, curve, color=colour)
        top.set(title=each.name, xlim=(points[0], points[-1]), ylim=(points[0], points[-1]), xlabel="x", aspect="equal")
        top.set(xticks=[points[0], 0, points[-1]], yticks=[points[0], 0, points[-1]])
        depends = np.asarray(each.depends, dtype=int)
        middle.imshow(depends + depends * np.eye(len(depends), dtype=int), cmap=DEPENDENCE, vmin=0, vmax=2)
        edges = np.arange(len(depends) + 1) - 0.5
        middle.set_xticks(edges, minor=True)
        middle.set_yticks(edges, minor=True)
        middle.grid(which="minor", color=GREY, lw=0.3)
        middle.tick_params(which="both", length=0)
        middle.set(xticks=[], yticks=[], xlabel="base coordinate")
        _draw_passes(bottom, each, most)
        for axes in (top, middle, bottom)[: 3 if number else 0]:
            axes.set_yticklabels([])
    for axes, label in zip(rows[:, 0], ("map y(x)", "sample coordinate", ""), strict=True):
        axes.set_ylabel(label)
    return figure


def _draw_passes(axes: Axes, relative: Relative, most: int) -> None:
    """Draw a bar for each direction; the slow one in vermilion."""
    for place, passes in enumerate((relative.sample, relative.score)):
        axes.barh(place, passes, height=0.6, color=BLUE if passes == 1 else VERMILION)
        axes.text(passes + 0.04 * most, place, str(passes), va="center", fontsize=8, color=BLACK)
    axes.set(xlim=(0, 1.25 * most), ylim=(1.6, -0.6), xlabel="network passes", xticks=[])
    axes.set_yticks([0, 1], ["sample", "density"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(length=0)


@styled
def warped_grids(grids: Sequence[ArrayLike], titles: Sequence[str], limit: float = 3.0) -> Figure:
    """Draw the images of a grid, one panel each; lines that began vertical are vermilion, the others are blue.

    Arguments:
        grids: the images of the points of a square grid, each of shape (m, m, 2); the first index runs along x1.
        titles: a title for each.
        limit: half the width of the panels.

    Example:
        >>> import numpy as np
        >>> from lesson_figures import warped_grids
        >>> grid = np.stack(np.meshgrid([0, 1], [0, 1], indexing="ij"), -1)
        >>> [axes.get_title(loc="left") for axes in warped_grids([grid, 2 * grid], ["before", "after"]).axes]
        ['before', 'after']
    """
    figure = Figure(figsize=(2.75 * len(grids) + 0.5, 3.1))
    panels = figure.subplots(1, len(grids), squeeze=False, sharey=True, gridspec_kw={"left": 0.07, "bottom": 0.15})[0]
    for axes, grid, title in zip(panels, grids, titles, strict=True):
        points = np.asarray(grid, dtype=float)
        every = max(1, (len(points) - 1) // 12)  # points between two lines
        for line in range(0, len(points), every):
            axes.plot(*points[line].T, color=VERMILION, lw=0.8)
            axes.plot(*points[:, line].T, color=BLUE, lw=0.8)
        axes.set(title=title, xlabel="x1", xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    panels[0].set_ylabel("x2")
    return figure


@styled
def spline_map(x: ArrayLike, y: ArrayLike, density: ArrayLike, base: ArrayLike, bound: float) -> Figure:
    """Draw an increasing map in its box; beside it the density of the base and of its image.

    Arguments:
        x, y: points and their images, of shape (n,).
        density, base: the density of the image at y, and of the base at x, of shape (n,).
        bound: half the width of the box.

    Example:
        >>> from lesson_figures import spline_map
        >>> figure = spline_map([-1, 0, 1], [-1, 0.5, 1], [0.2, 0.3, 0.2], [0.2, 0.4, 0.2], bound=1)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['the map', 'the densities']
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    figure = Figure(figsize=(7.5, 3.2))
    left, right = figure.subplots(1, 2, gridspec_kw={"bottom": 0.15, "wspace": 0.25, "width_ratios": (1, 1.6)})
    left.add_patch(Rectangle((-bound, -bound), 2 * bound, 2 * bound, facecolor="none", edgecolor=GREY, ls="--", lw=0.8))
    left.plot(x, y, color=BLUE)
    ends = (x[0], x[-1])
    left.set(title="the map", xlabel="x", ylabel="y", xlim=ends, ylim=ends, aspect="equal")
    right.plot(x, base, color=GREY, ls="--", label="base, at x")
    right.plot(y, density, color=BLUE, label="image, at y")
    right.set(title="the densities", xlabel="x or y", ylabel="density", xlim=ends)
    right.set_ylim(bottom=0)
    right.legend(loc="best")
    return figure
