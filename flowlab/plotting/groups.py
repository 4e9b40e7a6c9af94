"""Curves of runs of several kinds in one figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.axes import number_log_axis
from flowlab.plotting.style import GREY, styled

COLOURS = ("#D55E00", "#CC79A7", "#0072B2", "#009E73", "#E69F00", "#000000")


@styled
def curve_groups(
    steps: ArrayLike,
    groups: Mapping[str, ArrayLike],
    ylabel: str = "nats",
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """A curve for each run, in the colour of its kind; where a curve ends before the others, a cross.

    Arguments:
        steps: optimizer steps, of shape (n,).
        groups: values of the runs of a kind, of shape (runs, n), by name; from where a run failed, not finite.
        ylabel: what the values are.
        levels: horizontal lines to compare with, by name.

    Raises:
        ValueError: the values of a kind have not the shape (runs, n).

    Example:
        >>> from flowlab.plotting import curve_groups
        >>> figure = curve_groups([0, 10], {"sharp": [[9.0, 6.0], [8.0, 6.5]], "rounded": [[9.0, 4.5]]})
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['sharp', 'rounded']
    """
    figure = Figure(figsize=(6.5, 3.5))
    axes = figure.subplots(gridspec_kw={"left": 0.1})
    draw_groups(axes, steps, groups)
    for number, (name, level) in enumerate((levels or {}).items()):
        axes.axhline(level, color=GREY, ls=("--", ":", "-.")[number % 3], lw=1.2, label=name, zorder=1)
    axes.set(xlabel="optimizer step", ylabel=ylabel)
    strong_legend(axes)
    return figure


def draw_groups(axes: Axes, steps: ArrayLike, groups: Mapping[str, ArrayLike], bands: bool = False) -> None:
    """The curves of `curve_groups` on given axes, logarithmic where positive values span more than a factor of 20.

    With `bands` the runs of a kind are drawn as their median and range over those that have not failed yet.
    """
    steps = np.asarray(steps, dtype=float)
    drawn = []
    for number, (name, values) in enumerate(groups.items()):
        runs = np.asarray(values, dtype=float)
        if runs.ndim != 2 or runs.shape[1:] != steps.shape:
            raise ValueError(f"{name}: of shape {runs.shape}; must be (runs, {len(steps)}), a row for each run")
        runs = np.where(np.isfinite(runs), runs, np.nan)
        colour = COLOURS[number % len(COLOURS)]
        (_draw_band if bands else _draw_curves)(axes, steps, runs, colour, name)
        for run in runs:
            known = np.flatnonzero(~np.isnan(run))
            if len(known) and known[-1] < len(run) - 1:
                axes.plot(steps[known[-1]], run[known[-1]], "x", ms=5, color=colour, zorder=4)
        drawn.append(runs[~np.isnan(runs)])
    low, high = np.concatenate(drawn).min(initial=np.inf), np.concatenate(drawn).max(initial=-np.inf)
    if 0 < low < np.inf and high > 20 * low:
        axes.set_yscale("log")
        number_log_axis(axes.yaxis, low, high)


def _draw_curves(axes: Axes, steps: np.ndarray, runs: np.ndarray, colour: str, name: str) -> None:
    width, alpha = (1.6, 1.0) if len(runs) == 1 else (0.9, 0.7) if len(runs) < 10 else (0.6, 0.5)
    for place, run in enumerate(runs):
        axes.plot(steps, run, color=colour, lw=width, alpha=alpha, label=name if place == 0 else None, zorder=2)


def _draw_band(axes: Axes, steps: np.ndarray, runs: np.ndarray, colour: str, name: str) -> None:
    going = ~np.isnan(runs).all(axis=0)
    steps, runs = steps[going], runs[:, going]
    axes.fill_between(steps, np.nanmin(runs, axis=0), np.nanmax(runs, axis=0), color=colour, alpha=0.2, lw=0, zorder=2)
    axes.plot(steps, np.nanmedian(runs, axis=0), color=colour, lw=1.6, label=name, zorder=3)


def strong_legend(axes: Axes) -> None:
    """A legend whose lines can be told apart where the curves are thin and pale."""
    for line in axes.legend(loc="best").get_lines():
        line.set(linewidth=1.6, alpha=1.0)
