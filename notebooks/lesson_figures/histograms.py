"""Histograms of samples under the exact densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLUE, GREEN, VERMILION, styled

# Samples, points, and the density at these points.
Panel = tuple[ArrayLike, ArrayLike, ArrayLike]


@styled
def histogram(samples: ArrayLike, points: ArrayLike, density: ArrayLike, title: str = "", bins: int = 40) -> Figure:
    """Draw a histogram of samples with area 1, and the exact density as a line.

    Arguments:
        samples: of shape (n,); those outside the range of the points are not drawn, but count in the area.
        points: increasing points, of shape (m,).
        density: the exact density at these points, of shape (m,).
        title: the title; the number of samples follows it.
        bins: the number of bins, of equal width over the range of the points.

    Example:
        >>> from lesson_figures import histogram
        >>> figure = histogram([0.1, 0.2, 0.9], [0, 1], [1, 1], bins=2)
        >>> figure.axes[0].patches[0].get_data().values.round(2).tolist()
        [1.33, 0.67]
    """
    figure = Figure(figsize=(5.5, 3.2))
    axes = figure.subplots(gridspec_kw={"left": 0.12, "bottom": 0.15})
    _draw_histogram(axes, (samples, points, density), bins)
    axes.set(xlabel="x", ylabel="density", title=f"{title} ({len(np.asarray(samples)):,} samples)".strip())
    axes.legend(loc="best")
    return figure


@styled
def histograms(panels: Sequence[Panel], titles: Sequence[str], xlabels: Sequence[str], bins: int = 50) -> Figure:
    """Draw the histograms of several distributions side by side, each on its own axes.

    Arguments:
        panels: for each distribution the samples, the points and the density, as in `histogram`.
        titles, xlabels: a title and a label for each panel.
        bins: the number of bins in each panel.

    Example:
        >>> from lesson_figures import histograms
        >>> figure = histograms([([0.2, 0.7], [0, 1], [1, 1])] * 2, ["a", "b"], ["x", "y"])
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['x', 'y']
    """
    figure = Figure(figsize=(2.7 * len(panels), 2.7))
    margins = {"left": 0.16 / len(panels), "right": 0.99, "bottom": 0.16, "top": 0.9, "wspace": 0.2}
    row = figure.subplots(1, len(panels), squeeze=False, gridspec_kw=margins)[0]
    for axes, panel, title, xlabel in zip(row, panels, titles, xlabels, strict=True):
        _draw_histogram(axes, panel, bins)
        axes.set(xlabel=xlabel, title=title)
    row[0].set_ylabel("density")
    row[0].legend(loc="best")
    return figure


@styled
def estimates(panels: Sequence[Mapping[str, ArrayLike]], titles: Sequence[str], xlabel: str, bins: int = 30) -> Figure:
    """Draw the spread of several estimators of one number, panels side by side, each on its own axis of numbers.

    Arguments:
        panels: for each panel up to three estimators by name, each with its estimates of shape (n,).
        titles: a title for each panel.
        xlabel: names the number that is estimated.
        bins: the number of bins over all estimates of a panel.

    Example:
        >>> from lesson_figures import estimates
        >>> figure = estimates([{"wide": [0.0, 1.0, 2.0], "narrow": [1.0, 1.0, 1.1]}], ["start"], "nats", bins=4)
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['wide', 'narrow']
    """
    figure = Figure(figsize=(3.4 * len(panels), 2.9))
    margins = {"left": 0.18 / len(panels), "right": 0.97, "bottom": 0.17, "top": 0.9, "wspace": 0.22}
    row = figure.subplots(1, len(panels), squeeze=False, gridspec_kw=margins)[0]
    for axes, panel, title in zip(row, panels, titles, strict=True):
        every = np.concatenate([np.asarray(each, dtype=float) for each in panel.values()])
        edges = np.histogram_bin_edges(every, bins)
        for (name, values), colour in zip(panel.items(), (BLUE, VERMILION, GREEN), strict=False):
            heights = np.histogram(np.asarray(values, dtype=float), edges)[0]
            axes.stairs(heights, edges, fill=True, color=colour, alpha=0.45, label=name)
        axes.set(xlabel=xlabel, title=title)
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="x", nbins=5)
    row[0].set_ylabel("number of minibatches")
    row[0].legend(loc="best")
    return figure


def _draw_histogram(axes: Axes, panel: Panel, bins: int) -> None:
    samples, points, density = (np.asarray(each, dtype=float) for each in panel)
    edges = np.linspace(points[0], points[-1], bins + 1)
    heights = np.histogram(samples, edges)[0] / (len(samples) * np.diff(edges))
    axes.stairs(heights, edges, fill=True, color=BLUE, alpha=0.35, label="samples")
    axes.plot(points, density, color=VERMILION, label="exact density")
    axes.set_xlim(points[0], points[-1])
    axes.set_ylim(bottom=0)
