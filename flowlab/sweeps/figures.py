"""The figures that fit a sweep: which they are follows from the settings that varied."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pandas
from matplotlib.figure import Figure

from flowlab.plotting import density_panels, run_densities, setting_labels, sweep_heatmap, sweep_lines
from flowlab.plotting.labels import setting_name
from flowlab.runs.directory import load_run
from flowlab.sweeps.table import varied_settings

TARGET = "target.name"
PANELS = 60


def measure(table: pandas.DataFrame) -> str:
    """What the runs of a sweep are compared by: "kl" where every result has it, otherwise "nll"."""
    done = table[table["status"] == "done"]
    return "kl" if "kl" in table and len(done) and done["kl"].notna().all() else "nll"


def sweep_figures(table: pandas.DataFrame) -> dict[str, Callable[[], Figure]]:
    """By file name, how to draw each figure that fits the table of a sweep.

    The result by depth, or else by the first setting that varied, with a line for each value of the others; as a heat
    map where targets are one of two settings, and once for each target where they are one of more. And the densities.
    """
    if not (table["status"] == "done").any():
        return {}
    value, log = measure(table), measure(table) == "kl"
    table = _one_target_column(table)
    settings = [name for name in varied_settings(table) if name != "seed"]
    figures: dict[str, Callable[[], Figure]] = {"densities": lambda: _densities(table, settings)}
    if not settings:
        return figures
    by_depth = [name for name in settings if name == "flow.depth"]
    x = [*by_depth, *(name for name in settings if name != TARGET), TARGET][0]
    others = [name for name in settings if name != x]
    name = f"{value}_by_{_file_name(setting_name(x))}"
    if others == [TARGET]:
        figures[f"{value}_by_target_and_{_file_name(setting_name(x))}"] = lambda: sweep_heatmap(
            table, value, x, TARGET, log=log
        )
    elif TARGET in others:
        others.remove(TARGET)
        for target, runs in table.groupby(TARGET, sort=False):
            figures[f"{name}_{_file_name(str(target))}"] = partial(
                sweep_lines, runs, value, x, others, log=log, title=str(target)
            )
    else:
        figures[name] = lambda: sweep_lines(table, value, x, others, log=log)
    return figures


def _one_target_column(table: pandas.DataFrame) -> pandas.DataFrame:
    """Targets of one name that differ in their numbers are told apart by their name alone."""
    targets = [name for name in varied_settings(table) if name.startswith("target.")]
    if TARGET not in targets:
        return table
    known = table[TARGET].notna()  # a run that could not be read has none
    labels = pandas.Series(setting_labels(table, targets), index=table.index).where(known)
    return table.drop(columns=targets).assign(**{TARGET: labels})


def _densities(table: pandas.DataFrame, settings: list[str]) -> Figure:
    """Of the seeds of a setting the first; where nothing else varied, every seed."""
    done = table[table["status"] == "done"]
    done = done[~pandas.Series(setting_labels(done, settings), index=done.index).duplicated()] if settings else done
    if len(done) > PANELS:
        raise ValueError(f"{len(done)} densities are too many for one figure; density_panels draws some of them")
    # The first panel of each target says which it is.
    titles = setting_labels(done, [name for name in [*settings, "seed"] if name in done and name != TARGET])
    panels = run_densities([load_run(directory) for directory in done["directory"]], titles)
    if not panels["densities"]:
        raise ValueError("no target has two dimensions")
    return density_panels(**panels)


def _file_name(words: str) -> str:
    return re.sub(r"[^\w.-]+", "_", words).strip("_")
