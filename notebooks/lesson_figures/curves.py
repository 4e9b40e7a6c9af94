"""Loss curves: many runs in one figure, and one beside published losses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting import loss_curve
from flowlab.plotting.figures import BLACK, BLUE, GREEN, GREY, VERMILION, format_log_axis, styled

WIDE = 20  # an axis is logarithmic where the largest value exceeds this multiple of the smallest


@styled
def loss_curves(
    steps: ArrayLike,
    losses: ArrayLike,
    levels: Mapping[str, float] | None = None,
    points: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> Figure:
    """Draw the loss by step of each run as a line, and below them the median over the runs, dashed.

    A loss that is not finite is not drawn; the median counts it as the largest. The axis is logarithmic if values span
    more than a factor of 20, and linear around zero if some of them are not positive.

    Arguments:
        steps: optimizer steps, of shape (n,).
        losses: in nats, of shape (runs, n).
        levels: horizontal lines to compare with, in nats, by their names in the legend.
        points: steps and losses in nats to compare with, by their names in the legend.

    Raises:
        ValueError: the losses do not have the shape (runs, n).

    Example:
        >>> from lesson_figures import loss_curves
        >>> figure = loss_curves([0, 10], [[9.0, 5.0], [8.0, 6.0], [7.0, 4.5]], levels={"entropy": 4.2})
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['3 runs', 'median', 'entropy']
    """
    steps, losses = np.asarray(steps), np.asarray(losses, dtype=float)
    if losses.ndim != 2 or losses.shape[1:] != steps.shape:
        raise ValueError(f"losses: have shape {losses.shape}; must have shape (runs, {len(steps)}), a row for each run")
    finite = np.isfinite(losses)
    figure = Figure(figsize=(6.5, 3.6))
    axes = figure.subplots(gridspec_kw={"left": 0.1})
    for number, run in enumerate(np.where(finite, losses, np.nan)):
        name = f"{len(losses)} run{'s' if len(losses) > 1 else ''}" if number == 0 else None
        axes.plot(steps, run, color=BLUE, lw=0.9, alpha=0.7, label=name, zorder=3)
    median = np.median(np.where(finite, losses, np.inf), axis=0)
    middle = np.where(np.isfinite(median), median, np.nan)
    axes.plot(steps, middle, color=BLACK, lw=0.9, ls=(0, (4, 3)), label="median", zorder=2)  # hides no run
    for number, (name, level) in enumerate((levels or {}).items()):
        colour, dashes = ((GREY, "--"), (GREEN, ":"), (VERMILION, "-."))[number % 3]
        axes.axhline(level, color=colour, ls=dashes, lw=1.3, label=name, zorder=1)
    for number, (name, (x, y)) in enumerate((points or {}).items()):
        colour, marker = ((VERMILION, "o"), (GREEN, "s"), (GREY, "^"))[number % 3]
        axes.plot(np.asarray(x), np.asarray(y), marker, ms=4, color=colour, label=name, zorder=4)
    others = [list((levels or {}).values()), *(y for _, y in (points or {}).values())]
    _set_scale(axes, np.concatenate([losses[finite], *(np.asarray(each, dtype=float) for each in others)]))
    axes.set(xlabel="optimizer step", ylabel="nats")
    axes.legend(loc="best")
    return figure


@styled
def loss_and_points(
    steps: ArrayLike,
    loss: ArrayLike,
    held_out_steps: ArrayLike,
    held_out: ArrayLike,
    entropy: float,
    points: Mapping[str, tuple[ArrayLike, ArrayLike]],
) -> Figure:
    """Draw a loss curve, and losses of longer runs on a logarithmic axis of steps.

    The curve sets the height of the figure: a point above it becomes a triangle at the upper edge, with its loss
    beside it.

    Arguments:
        steps, loss, held_out_steps, held_out, entropy: see `flowlab.plotting.loss_curve`.
        points: steps and losses of other runs, in nats, by their names in the legend.

    Example:
        >>> from lesson_figures import loss_and_points
        >>> figure = loss_and_points([100, 1000], [6.0, 5.0], [], [], 4.2, {"elsewhere": ([1e4, 2e4], [200.5, 4.5])})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['200.5']
    """
    figure = loss_curve(steps, loss, held_out_steps, held_out, entropy)
    (axes,) = figure.axes
    finite = np.asarray(loss, dtype=float)
    highest = finite[np.isfinite(finite)].max()
    for number, (name, (x, y)) in enumerate(points.items()):
        x, y, colour = np.asarray(x), np.asarray(y), (BLACK, GREEN)[number % 2]
        inside = y <= highest
        axes.plot(x[inside], y[inside], "s", ms=4, color=colour, label=name, zorder=3)
        axes.set_xscale("log")
        axes.set_ylim(top=highest)
        axes.plot(x[~inside], np.full((~inside).sum(), highest), "^", ms=5, color=colour, clip_on=False, zorder=3)
        for step, value in zip(x[~inside], y[~inside], strict=True):
            axes.annotate(f"{value:g}", (step, highest), xytext=(5, -2), textcoords="offset points", fontsize=8)
    axes.legend(loc="best")
    return figure


def _set_scale(axes: Axes, values: np.ndarray) -> None:
    """Make the axis logarithmic if the values span more than a factor of 20."""
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    if low > 0 and high > WIDE * low:
        axes.set_yscale("log")
        format_log_axis(axes.yaxis, low, high)
    elif low <= 0 and high > WIDE * max(1.0, -low):
        axes.set_yscale("symlog", linthresh=10.0 ** np.ceil(np.log10(max(1.0, -low))))
