"""What something costs against a dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from flowlab.plotting.style import BLUE, GREEN, VERMILION, styled

COLOURS, MARKERS = (VERMILION, BLUE, GREEN), ("s", "^", "o")


def fitted_exponent(dims: ArrayLike, seconds: ArrayLike) -> float:
    """p of seconds = c d^p: the slope of the least-squares line through (log d, log seconds).

    Arguments:
        dims, seconds: positive, of shape (n,), n >= 2.

    Example:
        >>> from flowlab.plotting import fitted_exponent
        >>> round(fitted_exponent([1, 2, 4], [3.0, 12.0, 48.0]), 6)
        2.0
    """
    return float(np.polyfit(np.log(np.asarray(dims)), np.log(np.asarray(seconds)), 1)[0])


@styled
def cost_curves(
    dims: ArrayLike,
    seconds: Mapping[str, Sequence[ArrayLike]],
    fit_from: float = 0,
    xlabel: str = "dimension d",
) -> Figure:
    """Seconds against the dimension on logarithmic axes: median as a line, spread as a band, fitted power law dashed.

    Arguments:
        dims: of shape (n,).
        seconds: by name up to three curves, each the median, the least and the greatest, of shape (n,).
        fit_from: the power laws are fitted to the medians from this dimension on.

    Raises:
        ValueError: there are more than three curves.

    Example:
        >>> from flowlab.plotting import cost_curves
        >>> figure = cost_curves([2, 4], {"dense": ([8.0, 64.0], [7.0, 60.0], [9.0, 70.0])})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['dense, $d^{3.0}$']
    """
    if len(seconds) > len(COLOURS):
        raise ValueError(f"cost_curves tells {len(COLOURS)} curves apart, got {len(seconds)}: {', '.join(seconds)}")
    dims = np.asarray(dims, dtype=float)
    figure = Figure(figsize=(6.5, 4.0))
    axes = figure.subplots(gridspec_kw={"left": 0.11})
    large = dims >= fit_from
    for (name, curves), colour, marker in zip(seconds.items(), COLOURS, MARKERS, strict=False):
        median, least, greatest = (np.asarray(curve, dtype=float) for curve in curves)
        slope = fitted_exponent(dims[large], median[large])
        # Through the middle of the points that it is fitted to, as a least-squares line is.
        centre = np.exp(np.log(median[large]).mean() - slope * np.log(dims[large]).mean())
        axes.fill_between(dims, least, greatest, color=colour, alpha=0.2, linewidth=0)
        label = f"{name}, $d^{{{slope:.1f}}}$"
        axes.plot(dims, median, marker=marker, ms=4, color=colour, label=label)
        axes.plot(dims[large], centre * dims[large] ** slope, ls="--", lw=1, color=colour)
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel="seconds")
    axes.xaxis.set_major_locator(FixedLocator(dims.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    since = f"fitted from {fit_from:g} on" if fit_from else None
    axes.legend(loc="upper left", title=since, title_fontsize=8, alignment="left")
    return figure
