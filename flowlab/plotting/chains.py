"""Densities on their way through chains of bijectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import Bounds
from flowlab.plotting.style import BLACK, styled

SIDE, GAP, ARROW, LEFT, HEAD = 1.3, 0.08, 0.5, 0.3, 0.3  # in inches


@styled
def density_chains(
    densities: Sequence[Sequence[ArrayLike]],
    rows: Sequence[str],
    columns: Sequence[str],
    bounds: Bounds,
    arrows: Sequence[str] | None = None,
) -> Figure:
    """Densities as heat maps, a chain in each row, each panel from 0 to its own maximum.

    Arguments:
        densities: for each row a density for each column, of shape (n, n): the first index runs along x1, the second
            along x2.
        rows, columns: their titles.
        bounds: the interval of each axis, of all panels.
        arrows: what stands on the arrows from each panel to the next, one fewer than columns; None draws none.

    Raises:
        ValueError: the titles or arrows are not as many as the densities ask for.

    Example:
        >>> import numpy as np
        >>> from flowlab.plotting import density_chains
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
            _heat_map(axes, np.asarray(density, dtype=float), bounds)
        line[0].set_ylabel(row)
        for axes, name in zip(line[:-1], arrows or (), strict=arrows is not None):
            _arrow(axes, name)
    for axes, column in zip(panels[0], columns, strict=True):
        axes.set_title(column, loc="center", fontsize=9)
    return figure


def _heat_map(axes: Axes, density: np.ndarray, bounds: Bounds) -> None:
    x1, x2 = (np.linspace(low, high, size) for (low, high), size in zip(bounds, density.shape, strict=True))
    axes.pcolormesh(x1, x2, density.T, vmin=0, shading="nearest", rasterized=True)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _arrow(axes: Axes, name: str) -> None:
    """From the right edge of a panel to the next panel, its name above."""
    end = 1 + ARROW / SIDE
    axes.annotate("", (end - 0.04, 0.5), (1.04, 0.5), "axes fraction", arrowprops={"arrowstyle": "->", "color": BLACK})
    axes.annotate(name, ((1 + end) / 2, 0.54), xycoords="axes fraction", ha="center", va="bottom", fontsize=8)
