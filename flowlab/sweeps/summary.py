"""A sweep in the terminal and as files: `python experiments/summarize.py DIR`.

Exit status: 0 every run is done, 1 some are not, 2 the user's mistake.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flowlab.config.errors import ConfigError
from flowlab.config.untrusted import check_links, printable
from flowlab.plotting import save_figure
from flowlab.plotting.labels import setting_labels, setting_name, setting_text
from flowlab.sweeps.data import files_that_changed
from flowlab.sweeps.figures import measure, sweep_figures
from flowlab.sweeps.record import check_curve, write_record
from flowlab.sweeps.table import load_sweep, varied_settings
from flowlab.system.files import write_text

DONE, NOT_DONE, MISTAKE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line, given without the program's name; gives the exit status."""
    parser = argparse.ArgumentParser("summarize.py", description="The runs of a sweep: a table, figures, a record.")
    parser.add_argument("directory", metavar="DIR", type=Path, help="of the sweep, which holds a directory a run")
    parser.add_argument(
        "--record", metavar="PATH", type=Path, help="also write PATH.csv and PATH.json, to be committed"
    )
    parser.add_argument(
        "--curve",
        metavar="METRIC",
        action="append",
        default=[],
        help="with --record: also write PATH_METRIC.csv, a metric of every run by step: a column of metrics.csv",
    )
    options = parser.parse_args(arguments)
    if options.curve and not options.record:
        parser.error("--curve: is written beside a record; name it with --record PATH")
    if options.record and not options.record.name:
        parser.error(f"--record {options.record}: must end in a name, to which .csv and .json are added")
    try:
        return summarize(options.directory, options.record, options.curve)
    except ConfigError as error:
        print(f"flowlab: {printable(str(error))}", file=sys.stderr)
    except OSError as error:
        print(f"flowlab: {error.filename}: cannot be written: {error.strerror}", file=sys.stderr)
    return MISTAKE


def summarize(directory: Path, record: Path | None = None, curves: Sequence[str] = ()) -> int:
    """Print the tables of a sweep; write DIR/summary.csv, DIR/figures/ and, where asked for, the record and its curves.

    Raises:
        ConfigError: there is no such directory or no run in it, or the runs are not one record.
        OSError: something cannot be written.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such directory")
    if (directory / "config.yaml").is_file():
        raise ConfigError(f"{directory}: is a run; a sweep is the directory above its runs")
    check_links(directory)
    table = load_sweep(directory)
    for metric in curves:
        check_curve(table["directory"], metric)
    names = [Path(run).name for run in table["directory"]]
    console = Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(_rich(runs_table(table).assign(run=names), "runs"))
    seeds = seeds_table(table)
    if seeds is not None:
        console.print(_rich(seeds, "over seeds"))
    wrong = table.assign(run=names)[table["status"] != "done"]
    if len(wrong):
        said = wrong["error"].where(wrong["error"].notna(), "")
        console.print(_rich(wrong[["run", "status"]].assign(error=said), "not done"))
    counts = ", ".join(f"{count} {status}" for status, count in table["status"].value_counts().items())
    console.print(f"{len(table)} run{'s' if len(table) > 1 else ''}: {counts}")
    for file in files_that_changed(table["directory"]):
        print(
            f"flowlab: {printable(file)}: has changed meanwhile: not all runs have seen the same data", file=sys.stderr
        )
    for path in _write(directory, table.assign(directory=names), table):
        console.print(f"wrote {path}", soft_wrap=True)
    for path in write_record(directory, record, curves) if record else ():
        console.print(f"wrote {path}", soft_wrap=True)
    return NOT_DONE if len(wrong) else DONE


def runs_table(table: pandas.DataFrame) -> pandas.DataFrame:
    """For each run, as text: the settings that varied, kl or nll in nats with its standard error, and the status."""
    value = measure(table)
    shown = _settings_as_text(table, varied_settings(table))
    if value in table:
        pairs = zip(table[value], table[f"{value}_se"], strict=True)
        shown[f"{value} (nats)"] = [
            "" if pandas.isna(mean) else f"{_nats(mean)} ± {_nats(error)}" for mean, error in pairs
        ]
    return shown.assign(status=table["status"])


def seeds_table(table: pandas.DataFrame) -> pandas.DataFrame | None:
    """For each setting, as text: how many seeds are done, and median, least and greatest kl or nll in nats.

    None where no setting has several seeds.
    """
    value = measure(table)
    settings = [name for name in varied_settings(table) if name != "seed"]
    known = table.dropna(subset="seed") if "seed" in table else table[:0]  # one that could not be read has no seed
    if known.empty or value not in table:
        return None
    rows = []
    for _, runs in known.groupby(setting_labels(known, settings), sort=False):
        values = runs[value].dropna()
        row = dict(_settings_as_text(runs, settings).iloc[0]) | {"done": f"{len(values)} of {len(runs)}"}
        numbers = {f"median {value} (nats)": values.median(), "least": values.min(), "greatest": values.max()}
        row |= {name: "" if values.empty else _nats(number) for name, number in numbers.items()}
        rows.append(row)
    return pandas.DataFrame(rows) if len(rows) < len(known) else None


def _nats(number: float) -> str:
    return f"{number:.4f}" if abs(number) < 1e4 else f"{number:.3g}"


def _settings_as_text(table: pandas.DataFrame, names: list[str]) -> pandas.DataFrame:
    unreadable = table[names].isna().all(axis=1)
    return table[names].map(setting_text).mask(unreadable, "")


def _write(directory: Path, relative: pandas.DataFrame, table: pandas.DataFrame) -> list[Path]:
    """The table and the figures; what cannot be drawn costs a picture, not the summary."""
    written = [directory / "summary.csv"]
    write_text(written[0], relative.to_csv(index=False, lineterminator="\n"))
    for name, draw in sweep_figures(table).items():
        path = directory / "figures" / f"{name}.png"
        try:
            figure = draw()
        except Exception as error:
            print(f"flowlab: {path.name}: not drawn: {error}", file=sys.stderr)
            continue
        path.parent.mkdir(exist_ok=True)
        save_figure(figure, path)
        written.append(path)
    return written


def _rich(table: pandas.DataFrame, title: str) -> Table:
    rich = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in table:
        rich.add_column(setting_name(name), overflow="fold")
    for row in table.itertuples(index=False):
        rich.add_row(*(printable(str(cell)) for cell in row))
    return rich
