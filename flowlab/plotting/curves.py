"""The loss curves of many runs in one figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.axes import number_log_axis
from flowlab.plotting.style import BLACK, BLUE, GREEN, GREY, VERMILION, styled

DECADES = 20  # a largest value over a smallest from which on an axis is logarithmic


@styled
def loss_curves(
    steps: ArrayLike,
    losses: ArrayLike,
    levels: Mapping[str, float] | None = None,
    points: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> Figure:
    """The loss by step of many runs as thin lines, and at each step the median over the runs as a thick one.

    A loss that is not finite is not drawn, and counts as larger than any other in the median. The axis is logarithmic
    where the values span more than a factor of 20, and linear around zero if some of them are not positive.

    Arguments:
        steps: optimizer steps, of shape (n,).
        losses: in nats, of shape (runs, n).
        levels: horizontal lines to compare with, in nats, by the name that the legend gives them.
        points: steps and nats of single points to compare with, by name.

    Raises:
        ValueError: the losses have not the shape (runs, n).

    Example:
        >>> from flowlab.plotting import loss_curves
        >>> figure = loss_curves([0, 10], [[9.0, 5.0], [8.0, 6.0], [7.0, 4.5]], levels={"entropy": 4.2})
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['3 runs', 'median', 'entropy']
    """
    steps, losses = np.asarray(steps), np.asarray(losses, dtype=float)
    if losses.ndim != 2 or losses.shape[1:] != steps.shape:
        raise ValueError(f"losses: of shape {losses.shape}; must be (runs, {len(steps)}), a row for each run")
    finite = np.isfinite(losses)
    figure = Figure(figsize=(6.5, 3.6))
    axes = figure.subplots(gridspec_kw={"left": 0.1})
    for number, run in enumerate(np.where(finite, losses, np.nan)):
        name = f"{len(losses)} run{'s' if len(losses) > 1 else ''}" if number == 0 else None
        axes.plot(steps, run, color=BLUE, lw=0.8, alpha=0.5, label=name, zorder=2)
    median = np.median(np.where(finite, losses, np.inf), axis=0)
    axes.plot(steps, np.where(np.isfinite(median), median, np.nan), color=BLACK, lw=2, label="median", zorder=3)
    for number, (name, level) in enumerate((levels or {}).items()):
        colour, dashes = ((GREY, "--"), (GREEN, ":"), (VERMILION, "-."))[number % 3]
        axes.axhline(level, color=colour, ls=dashes, lw=1.3, label=name, zorder=1)
    for number, (name, (x, y)) in enumerate((points or {}).items()):
        colour, marker = ((VERMILION, "o"), (GREEN, "s"), (GREY, "^"))[number % 3]
        axes.plot(np.asarray(x), np.asarray(y), marker, ms=4, color=colour, label=name, zorder=4)
    others = [list((levels or {}).values()), *(y for _, y in (points or {}).values())]
    _scale(axes, np.concatenate([losses[finite], *(np.asarray(each, dtype=float) for each in others)]))
    axes.set(xlabel="optimizer step", ylabel="nats")
    axes.legend(loc="best")
    return figure


def _scale(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic axis where the values ask for one."""
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    if low > 0 and high > DECADES * low:
        axes.set_yscale("log")
        number_log_axis(axes.yaxis, low, high)
    elif low <= 0 and high > DECADES * max(1.0, -low):
        axes.set_yscale("symlog", linthresh=10.0 ** np.ceil(np.log10(max(1.0, -low))))
