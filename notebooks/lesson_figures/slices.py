"""Conditional densities: beside exact ones, and beside the values that were true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, BLUE, VERMILION, styled


@styled
def conditionals(
    x: ArrayLike,
    exact: Sequence[ArrayLike],
    learned: Sequence[ArrayLike],
    titles: Sequence[str],
    column: str = "x2",
) -> Figure:
    """Draw a panel for each condition on its own scale: the exact conditional density as an area, the flow as a line.

    Arguments:
        x: points, of shape (n,).
        exact, learned: for each condition the density at these points, of shape (n,).
        titles: a title for each panel.
        column: the name of the coordinate along the horizontal axis.

    Raises:
        ValueError: the lists differ in length.

    Example:
        >>> from lesson_figures import conditionals
        >>> figure = conditionals([0, 1, 2], [[0, 1, 0]], [[0.1, 0.8, 0.1]], ["x1 = 0"])
        >>> figure.axes[0].get_title(loc="left")
        'x1 = 0'
    """
    x, columns = np.asarray(x, dtype=float), min(2, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(3.6 * columns + 0.3, 2.1 * rows + 0.4))
    height = figure.get_figheight()
    margins = {"bottom": 0.45 / height, "top": 1 - 0.25 / height, "hspace": 0.35, "wspace": 0.15}
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False, gridspec_kw=margins)
    for axes in panels.ravel()[len(titles) :]:
        axes.remove()
    for axes, known, line, title in zip(panels.ravel()[: len(titles)], exact, learned, titles, strict=True):
        axes.fill_between(x, np.asarray(known), color=BLACK, alpha=0.2, linewidth=0, label="exact")
        axes.plot(x, np.asarray(line), color=BLUE, label="flow")
        axes.set(title=title, xlim=(x.min(), x.max()))
        axes.set_ylim(bottom=0)
    for axes in panels[-1]:
        axes.set_xlabel(column)
    for axes in panels[:, 0]:
        axes.set_ylabel("density")
    panels[0, 0].legend(loc="upper left")
    return figure


@styled
def conditional_curves(
    x: ArrayLike, densities: Sequence[ArrayLike], truths: Sequence[float], titles: Sequence[str], column: str = "y"
) -> Figure:
    """Draw a panel for each row of a table on one scale: its conditional density, and the value that was true.

    Arguments:
        x: values of the column, of shape (n,).
        densities: for each row the density at these values, of shape (n,).
        truths: the true value of each row.
        titles: a title for each panel.
        column: the name of the column.

    Raises:
        ValueError: the lists differ in length.

    Example:
        >>> from lesson_figures import conditional_curves
        >>> figure = conditional_curves([0, 1, 2], [[0, 1, 0]], [1.2], ["first row"], "redshift")
        >>> figure.axes[0].get_xlabel()
        'redshift'
    """
    x = np.asarray(x, dtype=float)
    figure = Figure(figsize=(2.4 * len(titles) + 0.4, 2.3), layout="constrained")
    panels = figure.subplots(1, len(titles), sharex=True, sharey=True, squeeze=False)[0]
    for axes, density, truth, title in zip(panels, densities, truths, titles, strict=True):
        axes.fill_between(x, np.asarray(density), color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(x, np.asarray(density), color=BLUE, label="flow")
        axes.axvline(truth, color=VERMILION, linestyle="--", linewidth=1, label="true value")
        axes.set(title=title, xlabel=column, xlim=(x.min(), x.max()))
    panels[0].set(ylabel="density")
    panels[0].set_ylim(bottom=0)
    panels[-1].legend(loc="upper right")
    return figure
