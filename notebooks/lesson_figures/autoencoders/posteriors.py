"""Posteriors of two hidden numbers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import Bounds
from lesson_figures.densities import density_row


def posterior_row(densities: Sequence[ArrayLike], bounds: Bounds, titles: Sequence[str]) -> Figure:
    """Draw densities of z1 and z2 in a row, on one scale; arguments as in `density_row`.

    Example:
        >>> from lesson_figures.autoencoders import posterior_row
        >>> figure = posterior_row([[[0, 1], [1, 0]]] * 2, ((0, 1), (0, 1)), ["exact", "flow"])
        >>> figure.axes[0].get_ylabel(), [axes.get_xlabel() for axes in figure.axes]
        ('z2', ['z1', 'z1'])
    """
    figure = density_row(densities, bounds, titles)
    figure.axes[0].set_ylabel("z2")
    for axes in figure.axes:
        axes.set_xlabel("z1")
    return figure
