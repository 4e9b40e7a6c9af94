"""Norms of random vectors against their dimension."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, BLUE, GREY, VERMILION, styled

BANDS = ((0.005, 0.995, 0.2), (0.25, 0.75, 0.4))  # from quantile, to quantile, opacity
COLOURS = tuple(f"C{number}" for number in range(6))


@styled
def norm_bands(norms: Mapping[int, ArrayLike], shown: tuple[int, ...] = (1, 10, 100, 1000)) -> Figure:
    """Draw the norms of standard normal vectors: quantiles against the dimension, and histograms minus sqrt(d).

    On the left the bands hold 99% and 50% of the norms, and the line is their mean. On the right are histograms of the
    norm minus sqrt(d), and their limit, the density of N(0, 1/2).

    Arguments:
        norms: arrays of shape (n,) by dimension, in ascending order.
        shown: at most six dimensions whose histograms are drawn.

    Raises:
        KeyError: `shown` names a dimension that `norms` lacks.

    Example:
        >>> import numpy as np
        >>> from lesson_figures import norm_bands
        >>> rng = np.random.default_rng(0)
        >>> figure = norm_bands({d: np.linalg.norm(rng.normal(size=(100, d)), axis=1) for d in (1, 10)}, shown=(10,))
        >>> figure.axes[1].get_legend_handles_labels()[1]
        ['d = 10', 'N(0, 1/2)']
    """
    samples = {dimension: np.asarray(values, dtype=float) for dimension, values in norms.items()}
    dimensions = np.array(list(samples))
    figure = Figure(figsize=(8.2, 3.3))
    left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.07, "bottom": 0.14, "wspace": 0.2})
    for low, high, opacity in BANDS:
        quantiles = np.array([np.quantile(values, [low, high]) for values in samples.values()])
        share = f"{100 * (high - low):.0f}% of the norms"
        left.fill_between(dimensions, *quantiles.T, color=BLUE, alpha=opacity, lw=0, label=share)
    left.plot(dimensions, [values.mean() for values in samples.values()], "o-", ms=3, color=BLUE, label="mean")
    left.plot(dimensions, np.sqrt(dimensions), ls="--", lw=1, color=VERMILION, label="square root of d")
    left.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="norm")
    left.legend(loc="lower right")

    for colour, dimension in zip(COLOURS, shown, strict=False):
        centred = samples[dimension] - np.sqrt(dimension)
        right.hist(
            centred, bins=60, range=(-3, 3), density=True, histtype="step", color=colour, label=f"d = {dimension}"
        )
    x = np.linspace(-3, 3, 200)
    right.plot(x, np.exp(-(x**2)) / np.sqrt(np.pi), ls="--", lw=1.2, color=BLACK, label="N(0, 1/2)")
    right.axvline(0, color=GREY, lw=0.6, zorder=0)
    right.set(xlabel="norm minus square root of d", ylabel="density", xlim=(-3, 3))
    right.legend(loc="upper right")
    return figure
