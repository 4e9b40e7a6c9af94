"""Figures of a sweep: pure functions of its table, as `flowlab.load_sweep` gives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from flowlab.plotting.axes import number_log_axis
from flowlab.plotting.labels import MEASURES, setting_labels, setting_name, setting_text
from flowlab.plotting.style import GREY, styled

DEFAULT_BY = "flow.rank"
CHARACTER = 0.068  # the width of one, in inches, in the style's font
# Of the runs of a group the single points are drawn up to this many.
FEW = 10
MOST = 14  # lines: the style's seven colours twice


@styled
def sweep_lines(
    table: pandas.DataFrame,
    value: str = "kl",
    x: str = "flow.depth",
    by: str | Sequence[str] | None = DEFAULT_BY,
    seed: str = "seed",
    log: bool = True,
    title: str = "",
) -> Figure:
    """A result against a setting: the median over seeds as a line, their range as a band, and the runs as points.

    Runs that are not done are left out, and the title counts them.

    Arguments:
        table: one row a run; rows of equal `x` and `by` are to differ in their seed alone.
        value: the result, in nats for kl and nll.
        x: the setting along the horizontal axis; one that is not a number is drawn in equal steps.
        by: one line for each value of this setting, or of these together; None draws a single line, and so does the
            default where the sweep did not vary it.
        seed: the column of seeds; a table without it has one seed.
        log: a logarithmic axis, linear around zero where values are not positive.
        title: what the runs have in common.

    Raises:
        ValueError: a column is missing, no run has the result, or runs differ in something that is not named, or there
            are too many lines.
    """
    lines = [by] if isinstance(by, str) else list(by or ())
    lines = [] if lines == [DEFAULT_BY] and DEFAULT_BY not in table else lines
    done = _done(table, value, [x, *lines])
    _only_seeds_differ(done, [x, *lines], seed)
    positions, ticks = _positions(done[x])
    runs = pandas.DataFrame({"x": positions, "line": setting_labels(done, lines), "value": done[value].astype(float)})
    names = _in_order(done, lines, runs["line"])
    if len(names) > MOST:
        raise ValueError(f"{len(names)} lines are too many to tell apart; hand over a part of the table")
    figure = Figure(figsize=(6.5, 3.6))
    room = 0.5 + CHARACTER * max(map(len, names)) if lines else 0  # for the legend, in inches
    axes = figure.subplots(gridspec_kw={"left": 0.11, "top": 0.88, "right": 0.98 - room / 6.5})
    for number, name in enumerate(names):
        _line(axes, runs[runs["line"] == name], name, number, _is_number(done[x]), (number + 0.5) / len(names) - 0.5)
    _value_axis(axes, runs["value"], log)
    _setting_axis(axes, ticks)
    said = ", ".join(filter(None, [title, _what_is_drawn(table, done, [x, *lines], "median and range")]))
    axes.set(xlabel=setting_name(x), ylabel=MEASURES.get(value, value))
    axes.set_title(said if len(said) < 70 else said.replace("; ", "\n"))
    if lines:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0)
    return figure


@styled
def sweep_heatmap(
    table: pandas.DataFrame,
    value: str = "kl",
    x: str = "flow.depth",
    y: str | Sequence[str] = "target.name",
    seed: str = "seed",
    log: bool = True,
    title: str = "",
) -> Figure:
    """A result by two settings: a cell holds the median over seeds; one where no run is done is hatched and says why.

    Arguments:
        table: one row a run; rows of equal `x` and `y` are to differ in their seed alone.
        value: the result, in nats for kl and nll.
        x: the setting of the columns.
        y: the setting of the rows, or several that are one together, as `target.name` and `target.mean`.
        seed: the column of seeds; a table without it has one seed.
        log: colours by the logarithm.
        title: what the runs have in common.

    Raises:
        ValueError: a column is missing, no run has the result, or runs differ in something that is not named.
    """
    rows = [y] if isinstance(y, str) else list(y)
    done = _done(table, value, [x, *rows])
    _only_seeds_differ(done, [x, *rows], seed)
    known = table.dropna(subset=[x, *rows], how="all")  # a run that could not be read has no settings
    positions, ticks = _positions(known[x])
    places = known.assign(column=positions.map(list(ticks).index), row=setting_labels(known, rows))
    names = _in_order(known, rows, places["row"])
    places["row"] = places["row"].map(names.index)
    cells = np.full((len(names), len(ticks)), np.nan)
    for place, runs in places.loc[done.index].groupby(["row", "column"]):
        cells[place] = runs[value].median()
    norm = _colours(cells, log)
    figure, axes = _heatmap_axes(cells.shape, CHARACTER * max(map(len, names)))
    axes.pcolormesh(np.ma.masked_invalid(cells), norm=norm, edgecolors="white", linewidth=1)
    for row, column in np.ndindex(*cells.shape):
        if np.isfinite(cells[row, column]):
            # White on the dark part of the colours, black on the light one.
            ink = "white" if norm(cells[row, column]) < 0.6 else "black"
            axes.text(column + 0.5, row + 0.5, f"{cells[row, column]:.2g}", ha="center", va="center", color=ink)
        else:
            there = places[(places["row"] == row) & (places["column"] == column)]
            _hatch(axes, row, column, ", ".join(dict.fromkeys(_status(there))) or "no run")
    axes.set_xticks(np.arange(len(ticks)) + 0.5, ticks.values())
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    first = ", ".join(filter(None, [title, MEASURES.get(value, value)]))
    axes.set(xlabel=setting_name(x), title=f"{first}\n{_what_is_drawn(table, done, [x, *rows], 'median')}")
    return figure


def _done(table: pandas.DataFrame, value: str, names: Sequence[str]) -> pandas.DataFrame:
    """The runs that have the result."""
    missing = [name for name in (value, *names) if name not in table]
    if missing:
        raise ValueError(f"{missing[0]!r}: there is no such column; there are {', '.join(map(str, table.columns))}")
    done = table[np.isfinite(table[value].astype(float))]
    done = done[done["status"] == "done"] if "status" in done else done
    if done.empty:
        raise ValueError(f"{value}: no run has this result: {_not_done(table, done) or 'there are no runs'}")
    return done


def _only_seeds_differ(done: pandas.DataFrame, names: Sequence[str], seed: str) -> None:
    """Refuse to take a median over runs that differ in more than a seed."""
    labels = pandas.Series(setting_labels(done, names), index=done.index)
    seeds = done[seed] if seed in done else pandas.Series(0, index=done.index)
    again = pandas.DataFrame({"label": labels, "seed": seeds}).duplicated()
    if again.any():
        raise ValueError(
            f"{labels[again].iloc[0]}: there are several runs of one seed, so they differ in more than "
            f"{', '.join([*names, seed])}; name that as well, or hand over a part of the table"
        )


def _not_done(table: pandas.DataFrame, done: pandas.DataFrame) -> str:
    counts = Counter(_status(table.drop(done.index)))
    return ", ".join(f"{count} run{'s' if count > 1 else ''} {status}" for status, count in counts.items())


def _status(runs: pandas.DataFrame) -> list[str]:
    """What became of runs that do not have the result."""
    status = runs["status"].tolist() if "status" in runs else ["done"] * len(runs)
    return ["without result" if each == "done" else each for each in status]


def _what_is_drawn(table: pandas.DataFrame, done: pandas.DataFrame, names: Sequence[str], what: str) -> str:
    sizes = pandas.Series(setting_labels(done, names)).value_counts()
    low, high = sizes.min(), sizes.max()
    seeds = "one run each" if high == 1 else f"{what} of {low if low == high else f'{low} to {high}'} seeds"
    return "; ".join(filter(None, [seeds, _not_done(table, done)]))


def _in_order(table: pandas.DataFrame, names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Labels of rows without repetition: numbers by their size, the rest as they come."""
    numbers = [name for name in names if _is_number(table[name])]
    labelled = table.assign(label=labels)
    labelled = labelled.sort_values(numbers, kind="stable") if numbers else labelled
    return labelled["label"].unique().tolist()


def _positions(column: pandas.Series) -> tuple[pandas.Series, dict[float, str]]:
    """Where the values of a setting lie on an axis, and what to write at each place, from left to right."""
    texts = column.map(setting_text, na_action=None)
    if _is_number(column):
        return column.astype(float), {float(value): setting_text(value) for value in sorted(column.unique().tolist())}
    order = texts.unique().tolist()
    return texts.map(order.index).astype(float), dict(enumerate(order))


def _is_number(column: pandas.Series) -> bool:
    return bool(is_numeric_dtype(column) and not is_bool_dtype(column) and column.notna().all())


def _line(axes: Axes, runs: pandas.DataFrame, name: str, number: int, connected: bool, aside: float) -> None:
    spread = runs.groupby("x")["value"].agg(["median", "min", "max", "count"])
    # A name such as C0 would be looked up when the figure is shown, in whatever style is set then.
    colour, most = to_hex(f"C{number % 7}"), spread["count"].max()  # after seven, again with dashes
    if connected:
        axes.plot(spread.index, spread["median"], "o-" if number < 7 else "s--", ms=4, color=colour, label=name)
    else:  # options have no order: each line's points side by side
        spread.index += 0.4 * aside
        axes.plot(spread.index, spread["median"], "o" if number < 7 else "s", ms=4, color=colour, label=name)
    if most > 1 and connected and len(spread) > 1:
        axes.fill_between(spread.index, spread["min"], spread["max"], color=colour, alpha=0.15, linewidth=0)
    elif most > 1:
        axes.vlines(spread.index, spread["min"], spread["max"], color=colour, alpha=0.5)
    if 1 < most <= FEW:
        axes.plot(runs["x"] + (0 if connected else 0.4 * aside), runs["value"], ".", ms=3, color=colour)


def _value_axis(axes: Axes, values: pandas.Series, log: bool) -> None:
    low, high = values.min(), values.max()
    if log and low > 0:
        axes.set_yscale("log")
        number_log_axis(axes.yaxis, low, high)
    elif log:
        # An estimate of a KL near zero may fall below it: up to that size the axis is linear.
        axes.set_yscale("symlog", linthresh=10.0 ** np.ceil(np.log10(max(-low, 1e-4))))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)


def _setting_axis(axes: Axes, ticks: dict[float, str]) -> None:
    places = list(ticks)
    if places[0] > 0 and places[-1] > 20 * places[0]:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, list(ticks.values()))
    if len(places) == 1:
        axes.set_xlim(places[0] - 1, places[0] + 1)


def _colours(cells: np.ndarray, log: bool) -> Normalize:
    low, high = np.nanmin(cells), np.nanmax(cells)
    if not log or high <= 0:
        return Normalize(low, high)
    # Values at or near zero share the darkest colour, so that they do not use up the scale.
    return LogNorm(max(cells[cells > 0].min(), 1e-4 * high), high, clip=True)


def _heatmap_axes(shape: tuple[int, int], label: float) -> tuple[Figure, Axes]:
    """Axes with room for cells of one size and for row labels of so many inches."""
    left, bottom = 0.3 + label, 0.5
    wide, high = 0.72 * max(shape[1], 4), 0.42 * shape[0]
    width, height = left + wide + 0.4, bottom + high + 0.6
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _hatch(axes: Axes, row: int, column: int, why: str) -> None:
    axes.add_patch(Rectangle((column, row), 1, 1, hatch="////", facecolor="white", edgecolor="#cccccc"))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.text(column + 0.5, row + 0.5, why, ha="center", va="center", color=GREY, fontsize=7, bbox=box)
