"""Figures of a sweep: pure functions of its table, as `flowlab.load_sweep` returns it."""

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

from flowlab.plotting.figures import GREY, format_log_axis, styled
from flowlab.plotting.labels import MEASURES, setting_labels, setting_name, setting_text, setting_texts

DEFAULT_BY = "flow.rank"
CHARACTER = 0.068  # inches: the width of a character in the style's font
FEW = 10  # runs: groups of at most this size show each run as a point
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
    """Draw a result against a setting: the median over seeds as a line, the range as a band, the runs as points.

    Unfinished runs are left out, and the title counts them.

    Arguments:
        table: a row for each run; rows with equal `x` and `by` may differ only in their seed.
        value: the result, in nats for kl and nll.
        x: the setting along the horizontal axis; values that are no numbers are drawn at equal distances.
        by: the setting, or settings, whose values get a line each. None draws a single line, as does the default in a
            sweep that did not vary it.
        seed: the column of seeds; a table without it has one seed.
        log: draw a logarithmic axis, linear around zero if some values are not positive.
        title: what the runs have in common.

    Raises:
        ValueError: a column is missing, no run has the result, runs differ in a setting that is not named, or there are
            more than 14 lines.
    """
    lines = [by] if isinstance(by, str) else list(by or ())
    lines = [] if lines == [DEFAULT_BY] and DEFAULT_BY not in table else lines
    done, description = _select(table, value, [x, *lines], seed, "median and range")
    positions, ticks = _place_values(done[x])
    runs = pandas.DataFrame({"x": positions, "line": setting_labels(done, lines), "value": done[value].astype(float)})
    names = _sort_labels(done, lines, runs["line"])
    if len(names) > MOST:
        raise ValueError(f"{len(names)} lines are too many to tell apart; at most {MOST} are allowed; pass fewer rows")
    figure = Figure(figsize=(6.5, 3.6))
    room = 0.5 + CHARACTER * max(map(len, names)) if lines else 0  # inches, for the legend
    axes = figure.subplots(gridspec_kw={"left": 0.11, "top": 0.88, "right": 0.98 - room / 6.5})
    for number, name in enumerate(names):
        _draw_line(
            axes, runs[runs["line"] == name], name, number, _is_number(done[x]), (number + 0.5) / len(names) - 0.5
        )
    _format_value_axis(axes, runs["value"], log)
    _format_setting_axis(axes, ticks)
    full_title = ", ".join(filter(None, [title, description]))
    axes.set(xlabel=setting_name(x), ylabel=MEASURES.get(value, value))
    axes.set_title(full_title if len(full_title) < 70 else full_title.replace("; ", "\n"))
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
    """Draw the median of a result over seeds by two settings; a cell without a finished run is hatched and says why.

    Arguments:
        table: a row for each run; rows with equal `x` and `y` may differ only in their seed.
        value: the result, in nats for kl and nll.
        x: the setting of the columns.
        y: the setting of the rows, or several whose combinations are the rows, such as `target.name`, `target.mean`.
        seed: the column of seeds; a table without it has one seed.
        log: colour by the logarithm.
        title: what the runs have in common.

    Raises:
        ValueError: a column is missing, no run has the result, or runs differ in a setting that is not named.
    """
    rows = [y] if isinstance(y, str) else list(y)
    done, description = _select(table, value, [x, *rows], seed, "median")
    known = table.dropna(subset=[x, *rows], how="all")  # an unreadable run has no settings
    positions, ticks = _place_values(known[x])
    places = known.assign(column=positions.map(list(ticks).index), row=setting_labels(known, rows))
    names = _sort_labels(known, rows, places["row"])
    places["row"] = places["row"].map(names.index)
    cells = np.full((len(names), len(ticks)), np.nan)
    for place, runs in places.loc[done.index].groupby(["row", "column"]):
        cells[place] = runs[value].median()
    norm = _build_norm(cells, log)
    figure, axes = _build_heatmap_axes(cells.shape, CHARACTER * max(map(len, names)))
    axes.pcolormesh(np.ma.masked_invalid(cells), norm=norm, edgecolors="white", linewidth=1)
    for row, column in np.ndindex(*cells.shape):
        if np.isfinite(cells[row, column]):
            ink = "white" if norm(cells[row, column]) < 0.6 else "black"  # readable on dark and on light cells
            axes.text(column + 0.5, row + 0.5, f"{cells[row, column]:.2g}", ha="center", va="center", color=ink)
        else:
            there = places[(places["row"] == row) & (places["column"] == column)]
            _hatch_cell(axes, row, column, ", ".join(dict.fromkeys(_statuses(there))) or "no run")
    axes.set_xticks(np.arange(len(ticks)) + 0.5, ticks.values())
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    first = ", ".join(filter(None, [title, MEASURES.get(value, value)]))
    axes.set(xlabel=setting_name(x), title=f"{first}\n{description}")
    return figure


def _select(
    table: pandas.DataFrame, value: str, names: Sequence[str], seed: str, statistic: str
) -> tuple[pandas.DataFrame, str]:
    """Return the runs that have the result; and in words the seeds for each point and the unfinished runs.

    Raises:
        ValueError: a column is missing, no run has the result, or runs of equal settings differ in more than a seed.
    """
    missing = [name for name in (value, *names) if name not in table]
    if missing:
        raise ValueError(f"{missing[0]!r}: there is no such column; allowed are {', '.join(map(str, table.columns))}")
    done = table[np.isfinite(table[value].astype(float))]
    done = done[done["status"] == "done"] if "status" in done else done
    counts = Counter(_statuses(table.drop(done.index)))
    unfinished = ", ".join(f"{count} run{'s' if count > 1 else ''} {status}" for status, count in counts.items())
    if done.empty:
        raise ValueError(f"{value}: no run has this result: {unfinished or 'there are no runs'}")
    labels = pandas.Series(setting_labels(done, names), index=done.index)
    again = pandas.DataFrame({"label": labels, "seed": done.get(seed, 0)}).duplicated()
    if again.any():
        raise ValueError(
            f"{labels[again].iloc[0]}: several runs have the same seed, so they differ in more than "
            f"{', '.join([*names, seed])}; name that setting as well, or pass fewer rows"
        )
    low, high = labels.value_counts().agg(["min", "max"])
    seeds = "one run each" if high == 1 else f"{statistic} of {low if low == high else f'{low} to {high}'} seeds"
    return done, "; ".join(filter(None, [seeds, unfinished]))


def _statuses(runs: pandas.DataFrame) -> list[str]:
    """Return the status of runs that do not have the result."""
    status = runs["status"].tolist() if "status" in runs else ["done"] * len(runs)
    return ["without result" if each == "done" else each for each in status]


def _sort_labels(table: pandas.DataFrame, names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the distinct labels of rows, numbers by size and other values in the table's order."""
    numbers = [name for name in names if _is_number(table[name])]
    labelled = table.assign(label=labels)
    labelled = labelled.sort_values(numbers, kind="stable") if numbers else labelled
    return labelled["label"].unique().tolist()


def _place_values(column: pandas.Series) -> tuple[pandas.Series, dict[float, str]]:
    """Return the positions of a setting's values on an axis, and the tick label at each position, left to right."""
    texts = pandas.Series(setting_texts(column.tolist()), index=column.index)
    if _is_number(column):
        return column.astype(float), {float(value): setting_text(value) for value in sorted(column.unique().tolist())}
    order = texts.unique().tolist()
    return texts.map(order.index).astype(float), dict(enumerate(order))


def _is_number(column: pandas.Series) -> bool:
    column = column.infer_objects()
    return bool(is_numeric_dtype(column) and not is_bool_dtype(column) and column.notna().all())


def _draw_line(axes: Axes, runs: pandas.DataFrame, name: str, number: int, connected: bool, aside: float) -> None:
    spread = runs.groupby("x")["value"].agg(["median", "min", "max", "count"])
    # matplotlib resolves a name such as C0 only when it shows the figure, in the style of that moment.
    colour, most = to_hex(f"C{number % 7}"), spread["count"].max()  # after seven lines, again with dashes
    if connected:
        axes.plot(spread.index, spread["median"], "o-" if number < 7 else "s--", ms=4, color=colour, label=name)
    else:  # values without an order: the lines' points stand side by side
        spread.index += 0.4 * aside
        axes.plot(spread.index, spread["median"], "o" if number < 7 else "s", ms=4, color=colour, label=name)
    if most > 1 and connected and len(spread) > 1:
        axes.fill_between(spread.index, spread["min"], spread["max"], color=colour, alpha=0.15, linewidth=0)
    elif most > 1:
        axes.vlines(spread.index, spread["min"], spread["max"], color=colour, alpha=0.5)
    if 1 < most <= FEW:
        axes.plot(runs["x"] + (0 if connected else 0.4 * aside), runs["value"], ".", ms=3, color=colour)


def _format_value_axis(axes: Axes, values: pandas.Series, log: bool) -> None:
    low, high = values.min(), values.max()
    if log and low > 0:
        axes.set_yscale("log")
        format_log_axis(axes.yaxis, low, high)
    elif log:
        # An estimate of a KL near zero can be negative: the axis is linear up to that size.
        axes.set_yscale("symlog", linthresh=10.0 ** np.ceil(np.log10(max(-low, 1e-4))))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)


def _format_setting_axis(axes: Axes, ticks: dict[float, str]) -> None:
    places = list(ticks)
    if places[0] > 0 and places[-1] > 20 * places[0]:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, list(ticks.values()))
    if len(places) == 1:
        axes.set_xlim(places[0] - 1, places[0] + 1)


def _build_norm(cells: np.ndarray, log: bool) -> Normalize:
    low, high = np.nanmin(cells), np.nanmax(cells)
    if not log or high <= 0:
        return Normalize(low, high)
    # Values at or near zero share the darkest colour, and the scale is left to the others.
    return LogNorm(max(cells[cells > 0].min(), 1e-4 * high), high, clip=True)


def _build_heatmap_axes(shape: tuple[int, int], label: float) -> tuple[Figure, Axes]:
    """Return a figure and axes for cells of one size, with row labels that are `label` inches wide."""
    left, bottom = 0.3 + label, 0.5
    wide, high = 0.72 * max(shape[1], 4), 0.42 * shape[0]
    width, height = left + wide + 0.4, bottom + high + 0.6
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _hatch_cell(axes: Axes, row: int, column: int, why: str) -> None:
    axes.add_patch(Rectangle((column, row), 1, 1, hatch="////", facecolor="white", edgecolor="#cccccc"))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.text(column + 0.5, row + 0.5, why, ha="center", va="center", color=GREY, fontsize=7, bbox=box)
