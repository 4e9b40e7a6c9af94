"""Conditional densities: slices through a joint one, each brought to mass 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.style import BLACK, BLUE, styled


@styled
def conditionals(
    x: ArrayLike,
    exact: Sequence[ArrayLike],
    learned: Sequence[ArrayLike],
    titles: Sequence[str],
    column: str = "x2",
) -> Figure:
    """A panel for each condition: the exact conditional density as an area, that of the flow as a line.

    Arguments:
        x: where the densities are given, of shape (n,).
        exact, learned: for each condition a density of shape (n,).
        titles: of the panels.
        column: name of the coordinate along the horizontal axis.

    Raises:
        ValueError: the lists differ in length.

    Example:
        >>> from flowlab.plotting import conditionals
        >>> figure = conditionals([0, 1, 2], [[0, 1, 0]], [[0.1, 0.8, 0.1]], ["x1 = 0"])
        >>> figure.axes[0].get_title(loc="left")
        'x1 = 0'
    """
    figure = Figure(figsize=(2.1 * len(titles) + 0.6, 2.7))
    margins = {"left": 0.5 / (2.1 * len(titles) + 0.6), "bottom": 0.17, "top": 0.8, "wspace": 0.12}
    panels = np.atleast_1d(figure.subplots(1, len(titles), sharex=True, sharey=True, gridspec_kw=margins))
    for axes, known, line, title in zip(panels, exact, learned, titles, strict=True):
        axes.fill_between(x, np.asarray(known), color=BLACK, alpha=0.2, linewidth=0, label="exact")
        axes.plot(x, np.asarray(line), color=BLUE, label="flow")
        axes.set(xlabel=column)
        axes.set_title(title, fontsize=8.5)
    panels[0].set_ylim(bottom=0)
    panels[0].set_xlim(np.min(x), np.max(x))
    panels[0].set_ylabel("conditional density")
    panels[-1].legend(loc="upper right", borderaxespad=0)
    return figure
