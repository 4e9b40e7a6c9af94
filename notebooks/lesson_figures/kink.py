"""The gradient of an average at a kink, in one dimension."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, BLUE, GREEN, GREY, VERMILION, styled


@styled
def kink_gradient(
    shifts: ArrayLike,
    averages: ArrayLike,
    derivatives: ArrayLike,
    expectations: ArrayLike,
    boundaries: ArrayLike,
    paths: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """Draw an average log density against the place of a kink; beside it the derivative and the gradient of autograd.

    Arguments:
        shifts: places of the kink, of shape (n,).
        averages: averages of the log density over the data, in nats, of shape (n,).
        derivatives: derivatives of the averages, in nats per unit, of shape (n,).
        expectations: averages of the pointwise gradient that autograd returns, in nats per unit, of shape (n,).
        boundaries: the boundary terms that these averages miss, in nats per unit, of shape (n,).
        paths: the places of a gradient ascent, by name; the last place is marked.

    Example:
        >>> from lesson_figures import kink_gradient
        >>> figure = kink_gradient([0, 1], [1.0, 1.5], [0, 1.0], [0.2, 1.3], [-0.2, -0.3], {"ascent": [1.0, 0.1]})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['nats', 'nats per unit of t']
    """
    shifts, averages = np.asarray(shifts, dtype=float), np.asarray(averages, dtype=float)
    expectations, boundaries = np.asarray(expectations, dtype=float), np.asarray(boundaries, dtype=float)
    figure = Figure(figsize=(7.5, 3.3))
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.25, "left": 0.08})
    left.plot(shifts, averages, color=BLACK, zorder=1)
    for number, (name, path) in enumerate((paths or {}).items()):
        last = np.asarray(path, dtype=float)[-1]
        colour, marker = ((VERMILION, "o"), (GREEN, "s"), (BLUE, "^"))[number % 3]
        left.plot([last], [np.interp(last, shifts, averages)], marker, ms=7, color=colour, label=name, zorder=3)
    left.set(xlabel="place of the kink, t", ylabel="nats", title="mean log density")
    if paths:
        left.legend(loc="best")
    right.axhline(0, color=GREY, lw=0.8, zorder=0)
    right.plot(shifts, derivatives, color=BLACK, label="derivative of the mean")
    right.plot(shifts, expectations, color=VERMILION, ls="--", label="mean of the derivative")
    right.plot(
        shifts, expectations + boundaries, "o", ms=4, color=GREEN, label="the latter + boundary term", markevery=2
    )
    right.set(xlabel="place of the kink, t", ylabel="nats per unit of t", title="its gradient")
    right.legend(loc="best")
    return figure


@styled
def kink_spike(points: ArrayLike, integrands: Mapping[str, ArrayLike], ylim: tuple[float, float]) -> Figure:
    """Draw the contribution of each point to a gradient, for kinks rounded less and less, and for a sharp one.

    Arguments:
        points: data, of shape (n,).
        integrands: density times gradient at each point, of shape (n,), by name; the last belongs to the sharp kink.
        ylim: the interval of the vertical axis; the spikes exceed it.

    Example:
        >>> from lesson_figures import kink_spike
        >>> figure = kink_spike([0, 1, 2], {"rounded": [0, 3, 0], "sharp": [0, 0, 0]}, ylim=(-1, 2))
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['rounded', 'sharp']
    """
    figure = Figure(figsize=(6.5, 3.3))
    axes = figure.subplots()
    colours = ("#56B4E9", BLUE, GREEN, "#CC79A7")
    *rounded, sharp = integrands.items()
    for number, (name, values) in enumerate(rounded):
        axes.plot(np.asarray(points), np.asarray(values), color=colours[number % 4], label=name)
    axes.plot(np.asarray(points), np.asarray(sharp[1]), color=VERMILION, ls="--", label=sharp[0])
    axes.set(xlabel="y", ylabel="density x gradient", ylim=ylim)
    axes.legend(loc="best")
    return figure
