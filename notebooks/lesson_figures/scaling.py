"""Cost against dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLUE, GREEN, VERMILION, styled
from flowlab.plotting.labels import fitted_exponent

COLOURS, MARKERS = (VERMILION, BLUE, GREEN), ("s", "^", "o")


@styled
def cost_curves(
    dims: ArrayLike,
    seconds: Mapping[str, Sequence[ArrayLike]],
    fit_from: float = 0,
    xlabel: str = "dimension d",
) -> Figure:
    """Draw seconds against the dimension on logarithmic axes: median, range as a band, fitted power law dashed.

    Arguments:
        dims: dimensions, of shape (n,).
        seconds: up to three curves by name; each is the median, minimum and maximum, of shape (n,).
        fit_from: the smallest dimension that the power laws are fitted to.
        xlabel: the label of the dimension.

    Raises:
        ValueError: there are more than three curves.

    Example:
        >>> from lesson_figures import cost_curves
        >>> figure = cost_curves([2, 4], {"dense": ([8.0, 64.0], [7.0, 60.0], [9.0, 70.0])})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['dense, $d^{3.0}$']
    """
    if len(seconds) > len(COLOURS):
        raise ValueError(
            f"seconds: has {len(seconds)} curves, {', '.join(seconds)}; at most {len(COLOURS)} are allowed"
        )
    dims = np.asarray(dims, dtype=float)
    figure = Figure(figsize=(6.5, 4.0))
    axes = figure.subplots(gridspec_kw={"left": 0.11})
    large = dims >= fit_from
    for (name, curves), colour, marker in zip(seconds.items(), COLOURS, MARKERS, strict=False):
        median, least, greatest = (np.asarray(curve, dtype=float) for curve in curves)
        slope = fitted_exponent(dims[large], median[large])
        # A least-squares line goes through the mean of its points.
        centre = np.exp(np.log(median[large]).mean() - slope * np.log(dims[large]).mean())
        axes.fill_between(dims, least, greatest, color=colour, alpha=0.2, linewidth=0)
        label = f"{name}, $d^{{{slope:.1f}}}$"
        axes.plot(dims, median, marker=marker, ms=4, color=colour, label=label)
        axes.plot(dims[large], centre * dims[large] ** slope, ls="--", lw=1, color=colour)
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel="seconds")
    axes.xaxis.set_major_locator(FixedLocator(dims.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    since = f"dashed: power laws, fitted from d = {fit_from:g} on" if fit_from else None
    axes.legend(loc="upper left", title=since, title_fontsize=8, alignment="left")
    return figure


@styled
def moving_points(shares: Mapping[str, ArrayLike]) -> Figure:
    """Draw the share of points that are not exact yet, by the number of passes of the network.

    Arguments:
        shares: up to three curves by name, each of shape (n,), after 0, 1, ... passes, in fractions.

    Example:
        >>> from lesson_figures import moving_points
        >>> figure = moving_points({"teacher": [1.0, 1.0, 0.5, 0.0], "student": [1.0, 0.0]})
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['teacher', 'student']
    """
    figure = Figure(figsize=(6.5, 3.0))
    axes = figure.subplots(gridspec_kw={"left": 0.1, "bottom": 0.16})
    for (name, share), colour, marker in zip(shares.items(), COLOURS, MARKERS, strict=False):
        axes.plot(100 * np.asarray(share, dtype=float), marker=marker, ms=4, color=colour, label=name)
    axes.set(xlabel="passes of the network", ylabel="points not exact yet (%)", ylim=(-4, 104))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
    return figure
