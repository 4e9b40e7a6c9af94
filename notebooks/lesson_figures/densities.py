"""Densities: along chains of bijectors, in a row, and of a flow beside its target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from flowlab.plotting.figures import (
    BLACK,
    BLUE,
    VERMILION,
    Bounds,
    draw_contours,
    draw_density,
    draw_points,
    find_maximum,
    styled,
)

SIDE, GAP, ARROW, LEFT, HEAD = 1.3, 0.08, 0.5, 0.3, 0.3  # in inches


@styled
def density_chains(
    densities: Sequence[Sequence[ArrayLike]],
    rows: Sequence[str],
    columns: Sequence[str],
    bounds: Bounds,
    arrows: Sequence[str] | None = None,
) -> Figure:
    """Draw densities as heat maps, a chain in each row; a panel's colours go from 0 to its own maximum.

    Arguments:
        densities: for each row a density for each column, of shape (n, n); the first index runs along x1, the second
            along x2.
        rows, columns: their titles.
        bounds: the interval of each axis.
        arrows: labels of the arrows between neighbouring panels, one fewer than columns; None draws no arrows.

    Raises:
        ValueError: the number of titles or arrows does not fit the densities.

    Example:
        >>> import numpy as np
        >>> from lesson_figures import density_chains
        >>> figure = density_chains([[np.eye(3), np.ones((3, 3))]], [""], ["z0", "z1"], ((0, 1), (0, 1)), ["f1"])
        >>> [axes.get_title(loc="center") for axes in figure.axes]
        ['z0', 'z1']
    """
    gap = GAP if arrows is None else ARROW
    width = LEFT + len(columns) * (SIDE + gap)
    height = HEAD + len(rows) * (SIDE + GAP)
    figure = Figure(figsize=(width, height))
    margins = {
        "left": LEFT / width,
        "right": 1 - gap / width,
        "bottom": GAP / height,
        "top": 1 - HEAD / height,
        "wspace": gap / SIDE,
        "hspace": GAP / SIDE,
    }
    panels = figure.subplots(len(rows), len(columns), squeeze=False, gridspec_kw=margins)
    for line, chain, row in zip(panels, densities, rows, strict=True):
        for axes, density in zip(line, chain, strict=True):
            draw_density(axes, density, bounds)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(row)
        for axes, name in zip(line[:-1], arrows or (), strict=arrows is not None):
            _draw_arrow(axes, name)
    for axes, column in zip(panels[0], columns, strict=True):
        axes.set_title(column, loc="center", fontsize=9)
    return figure


@styled
def samples_and_densities(
    samples: Sequence[ArrayLike],
    densities: Sequence[ArrayLike],
    bounds: Bounds,
    titles: Sequence[str] = ("target", "flow"),
    columns: Sequence[str] = ("x1", "x2"),
) -> Figure:
    """Draw a flow beside its target: samples in the upper row, densities with one colour scale below.

    Arguments:
        samples: samples of the target and of the flow, each of shape (n, 2).
        densities: densities of the target and of the flow, each of shape (n, n); the first index runs along x1.
        bounds: the interval of each axis.
        titles: a title for each column.
        columns: a name for each coordinate.

    Example:
        >>> from lesson_figures import samples_and_densities
        >>> points, density = [[0.2, 0.4], [0.5, 0.5]], [[0.0, 1.0], [1.0, 2.0]]
        >>> figure = samples_and_densities([points] * 2, [density] * 2, ((0, 1), (0, 1)))
        >>> [axes.get_title(loc="left") for axes in figure.axes[:2]]
        ['target (2 points)', 'flow (2 points)']
    """
    highest = max(map(find_maximum, densities))
    figure = Figure(figsize=(7.5, 6.4))
    margins = {"right": 0.9, "bottom": 0.08, "top": 0.95, "hspace": 0.22}
    panels = figure.subplots(2, 2, sharex=True, sharey=True, gridspec_kw=margins)
    for axes, points, title, colour in zip(panels[0], samples, titles, (BLUE, VERMILION), strict=True):
        points = np.asarray(points)
        draw_points(axes, points, colour)
        axes.set(title=f"{title} ({len(points):,} points)", xlim=bounds[0], ylim=bounds[1])
    for axes, density, title in zip(panels[1], densities, titles, strict=True):
        mesh = draw_density(axes, density, bounds, highest)
        draw_contours(axes, density, bounds, highest)
        axes.set(title=f"density of the {title}", xlabel=columns[0])
    for axes in panels[:, 0]:
        axes.set_ylabel(columns[1])
    place = panels[1, 1].get_position()
    figure.colorbar(mesh, cax=figure.add_axes((0.92, place.y0, 0.016, place.height)), label="density")
    return figure


def _draw_arrow(axes: Axes, name: str) -> None:
    """Draw an arrow from the right edge of a panel to the next panel, with its name above."""
    end = 1 + ARROW / SIDE
    axes.annotate("", (end - 0.04, 0.5), (1.04, 0.5), "axes fraction", arrowprops={"arrowstyle": "->", "color": BLACK})
    axes.annotate(name, ((1 + end) / 2, 0.54), xycoords="axes fraction", ha="center", va="bottom", fontsize=8)


@styled
def density_row(densities: Sequence[ArrayLike], bounds: Bounds, titles: Sequence[str]) -> Figure:
    """Draw densities in a row, light to dark on one scale that ends at the first one's maximum.

    Contours lie at 5%, 25% and 75% of this maximum.

    Arguments:
        densities: each of shape (n, n); the first index runs along x1, the second along x2. Put the exact one first.
        bounds: the interval of each axis.
        titles: a title for each.

    Example:
        >>> from lesson_figures import density_row
        >>> figure = density_row([[[0, 1], [1, 0]]] * 2, ((0, 1), (0, 1)), ["exact", "flow"])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['exact', 'flow']
    """
    figure = Figure(figsize=(2.3 * len(densities) + 0.4, 2.6))
    panels = figure.subplots(1, len(densities), squeeze=False, sharey=True, gridspec_kw={"left": 0.07, "bottom": 0.17})
    highest = find_maximum(densities[0]) or 1.0
    for axes, density, title in zip(panels[0], densities, titles, strict=True):
        draw_density(axes, density, bounds, highest)
        draw_contours(axes, density, bounds, highest)
        axes.set(title=title, xlabel="x1", xlim=bounds[0], ylim=bounds[1])
        axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    panels[0][0].set_ylabel("x2")
    return figure


@styled
def density_and_target(density: ArrayLike, exact: ArrayLike, bounds: Bounds, title: str) -> Figure:
    """Draw a density light to dark, with the contours of the exact density over it, on the exact one's scale.

    Arguments:
        density, exact: of shape (n, n); the first index runs along x1, the second along x2.
        bounds: the interval of each axis.
        title: the title.

    Example:
        >>> from lesson_figures import density_and_target
        >>> figure = density_and_target([[0, 3], [1, 0]], [[0, 1], [2, 0]], ((0, 1), (0, 1)), "step 0")
        >>> figure.axes[0].get_title(loc="left")
        'step 0'
    """
    highest = find_maximum(exact)
    figure = Figure(figsize=(4.6, 3.4))
    axes = figure.subplots(gridspec_kw={"left": 0.14, "bottom": 0.15, "top": 0.9})
    draw_density(axes, density, bounds, highest)
    draw_contours(axes, exact, bounds, highest, VERMILION)
    axes.set(title=title, xlabel="x1", ylabel="x2", xlim=bounds[0], ylim=bounds[1])
    return figure
