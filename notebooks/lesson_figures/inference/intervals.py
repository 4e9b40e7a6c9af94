"""Posterior means and deviations of several parameters, by two or three methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, BLUE, VERMILION, styled

COLOURS, MARKERS, APART = (BLACK, BLUE, VERMILION), "osD", 0.22  # for each method; rows of one parameter apart


@styled
def posterior_intervals(names: Sequence[str], posteriors: Mapping[str, ArrayLike], xlabel: str) -> Figure:
    """Draw the mean and one standard deviation on each side for every parameter, methods below each other.

    Arguments:
        names: of the parameters.
        posteriors: means and standard deviations, of shape (2, parameters), by the name of the method; at most three.
        xlabel: the label of the values.

    Raises:
        ValueError: there are more than three methods, or a method has a different number of parameters.

    Example:
        >>> from lesson_figures import posterior_intervals
        >>> figure = posterior_intervals(["mu"], {"NUTS": [[4.4], [3.3]], "flow": [[4.5], [3.2]]}, "points")
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['NUTS', 'flow']
    """
    figure = Figure(figsize=(5.6, 1.2 + 0.34 * len(names)))
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((0.16, 0.55 / height, 0.81, 1 - 1.0 / height))
    places = -np.arange(len(names), dtype=float)
    looks = list(zip(COLOURS, MARKERS, strict=True))[: len(posteriors)]
    for number, ((method, values), (colour, marker)) in enumerate(zip(posteriors.items(), looks, strict=True)):
        mean, deviation = np.asarray(values, dtype=float)
        rows = places + APART * ((len(posteriors) - 1) / 2 - number)
        axes.errorbar(mean, rows, xerr=deviation, fmt=marker, color=colour, markersize=4, lw=1.2, label=method)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel=xlabel, ylim=(0.6 - len(names), 0.6))
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    figure.legend(*axes.get_legend_handles_labels(), loc="upper right", ncols=len(posteriors))
    return figure
