"""Curves of several groups of runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, GREY, format_log_axis, styled

COLOURS = ("#D55E00", "#CC79A7", "#0072B2", "#009E73", "#E69F00", "#000000")


@styled
def curve_groups(
    steps: ArrayLike,
    groups: Mapping[str, ArrayLike],
    ylabel: str = "nats",
    levels: Mapping[str, float] | None = None,
    points: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    top: float | None = None,
) -> Figure:
    """Draw a curve for each run in the colour of its group, with a cross where a curve ends before the others.

    Arguments:
        steps: optimizer steps, of shape (n,).
        groups: values of shape (runs, n) by the name of the group; not finite after a run failed.
        ylabel: the label of the values.
        levels: horizontal lines to compare with, by their names in the legend.
        points: steps and values to compare with, by their names in the legend.
        top: the upper end of a linear axis; what lies above is cut off.

    Raises:
        ValueError: the values of a group do not have the shape (runs, n).

    Example:
        >>> from lesson_figures import curve_groups
        >>> figure = curve_groups([0, 10], {"sharp": [[9.0, 6.0], [8.0, 6.5]], "rounded": [[9.0, 4.5]]})
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['sharp', 'rounded']
    """
    figure = Figure(figsize=(6.5, 3.5))
    axes = figure.subplots(gridspec_kw={"left": 0.1})
    _draw_groups(axes, steps, groups)
    for number, (name, level) in enumerate((levels or {}).items()):
        axes.axhline(level, color=GREY, ls=("--", ":", "-.")[number % 3], lw=1.2, label=name, zorder=1)
    for number, (name, (x, y)) in enumerate((points or {}).items()):
        axes.plot(np.asarray(x), np.asarray(y), "sD"[number % 2], ms=4, color=BLACK, label=name, zorder=4)
    if top is not None:
        drawn = [*(np.asarray(runs, dtype=float) for runs in groups.values()), np.array(list((levels or {}).values()))]
        low = min(np.nanmin(each) for each in drawn if each.size)
        axes.set_yscale("linear")
        axes.set_ylim(low - 0.04 * (top - low), top)
    axes.set(xlabel="optimizer step", ylabel=ylabel)
    for line in axes.legend(loc="best").get_lines():  # readable where the curves are thin and pale
        line.set(linewidth=1.6, alpha=1.0)
    return figure


@styled
def saturation(
    counts: ArrayLike,
    at_start: Mapping[str, ArrayLike],
    steps: ArrayLike,
    norms: Mapping[str, ArrayLike],
    distances: ArrayLike,
    slopes: Mapping[str, ArrayLike],
) -> Figure:
    """Draw gradient norms by depth and by step, and dx/dy against the distance of y from the bound of a nonlinearity.

    A group's norms are drawn as the median and range over the runs that have not failed yet. The legend counts the
    failed runs; a cross ends the curve of a group whose runs have all failed.

    Arguments:
        counts: numbers of nonlinearities in a chain, of shape (k,).
        at_start: gradient norms before the first step, of shape (initializations, k), by the name of the group.
        steps: optimizer steps, greater than 0, of shape (n,).
        norms: gradient norms of shape (runs, n) by the name of the group, in the order of `at_start`; not finite after
            a run failed.
        distances: distances of y from the bound, of shape (m,), greater than 0.
        slopes: slopes of the inverse at these distances, of shape (m,), by name; a group of `norms` keeps its colour as
            a wide line, any other name is dashed.

    Raises:
        ValueError: the norms of a group do not have the shape (initializations, k) or (runs, n).

    Example:
        >>> from lesson_figures import saturation
        >>> norms, slopes = {"two tanh": [[1.0, float("nan")]]}, {"two tanh": [5.3, 1.0]}
        >>> figure = saturation([1, 2], {"tanh": [[1.0, 2.0]]}, [1, 2], norms, [0.1, 1.0], slopes)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['gradient at the initialization', 'gradient in training', 'slope of the inverse, dx/dy']
    """
    figure = Figure(figsize=(10.5, 3.6))
    left, middle, right = figure.subplots(
        1, 3, gridspec_kw={"wspace": 0.22, "left": 0.06, "right": 0.98, "width_ratios": (1, 1.25, 1)}
    )
    _draw_groups(left, counts, at_start, bands=True)
    left.set(xlabel="nonlinearities in the chain", xticks=np.asarray(counts), ylabel="norm of the gradient")
    left.set_title("gradient at the initialization")
    left.legend(loc="best")
    _draw_groups(middle, steps, norms, bands=True)
    middle.set_xscale("log")
    middle.set(xlabel="optimizer step", title="gradient in training")
    middle.legend(loc="best")
    names, dashes = list(norms), cycle(("--", ":", "-."))
    for name, values in slopes.items():
        # One nonlinearity is often as steep as two: its dashes are drawn over the wide, light line.
        if name in names:
            look: dict[str, Any] = {"color": COLOURS[names.index(name)], "lw": 5, "alpha": 0.4}
        else:
            look = {"color": BLACK, "ls": next(dashes), "lw": 1.4}
        right.loglog(np.asarray(distances), np.asarray(values), label=name, zorder=2 if name in names else 3, **look)
    right.set(xlabel="distance of y from the bound", title="slope of the inverse, dx/dy")
    right.legend(loc="best")
    return figure


def _draw_groups(axes: Axes, steps: ArrayLike, groups: Mapping[str, ArrayLike], bands: bool = False) -> None:
    """Draw groups on given axes, logarithmic where positive values span more than a factor of 20.

    With `bands` a group is drawn as the median and range over its runs that have not failed yet.
    """
    steps = np.asarray(steps, dtype=float)
    drawn = []
    for number, (name, values) in enumerate(groups.items()):
        runs = np.asarray(values, dtype=float)
        if runs.ndim != 2 or runs.shape[1:] != steps.shape:
            raise ValueError(
                f"{name}: has shape {runs.shape}; must have shape (runs, {len(steps)}), a row for each run"
            )
        runs = np.where(np.isfinite(runs), runs, np.nan)
        colour = COLOURS[number % len(COLOURS)]
        (_draw_band if bands else _draw_curves)(axes, steps, runs, colour, name)
        drawn.append(runs[~np.isnan(runs)])
    low, high = np.concatenate(drawn).min(initial=np.inf), np.concatenate(drawn).max(initial=-np.inf)
    if 0 < low < np.inf and high > 20 * low:
        axes.set_yscale("log")
        format_log_axis(axes.yaxis, low, high)


def _draw_curves(axes: Axes, steps: np.ndarray, runs: np.ndarray, colour: str, name: str) -> None:
    width, alpha = (1.6, 1.0) if len(runs) == 1 else (0.9, 0.7) if len(runs) < 10 else (0.6, 0.5)
    for place, run in enumerate(runs):
        axes.plot(steps, run, color=colour, lw=width, alpha=alpha, label=name if place == 0 else None, zorder=2)
        _mark_end(axes, steps, run, colour)


def _draw_band(axes: Axes, steps: np.ndarray, runs: np.ndarray, colour: str, name: str) -> None:
    if failed := int(np.isnan(runs[:, -1]).sum()):
        name = f"{name}: {failed} of {len(runs)} fail"
    active = ~np.isnan(runs).all(axis=0)
    middle = np.full(len(steps), np.nan)
    middle[active] = np.nanmedian(runs[:, active], axis=0)
    _mark_end(axes, steps, middle, colour)
    low, high = np.nanmin(runs[:, active], axis=0), np.nanmax(runs[:, active], axis=0)
    axes.fill_between(steps[active], low, high, color=colour, alpha=0.2, lw=0, zorder=2)
    axes.plot(steps[active], middle[active], color=colour, lw=1.6, label=name, zorder=3)


def _mark_end(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str) -> None:
    """Draw a cross at the last value of a curve that ends before the others."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) and known[-1] < len(values) - 1:
        axes.plot(steps[known[-1]], values[known[-1]], "x", ms=6, color=colour, zorder=4)
