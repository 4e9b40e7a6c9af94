"""A sweep as tables in the terminal, summary.csv, and the figures that fit the settings that varied."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flowlab.config.errors import ConfigError
from flowlab.config.untrusted import check_links, printable
from flowlab.plotting import density_panels, run_densities, save_figure, setting_labels, sweep_heatmap, sweep_lines
from flowlab.plotting.labels import setting_name, setting_texts
from flowlab.runs.directory import load_run
from flowlab.sweeps.table import load_sweep, to_csv, varied_settings
from flowlab.system.files import read_json, write_text

DONE, NOT_DONE = 0, 1  # exit status
TARGET = "target.name"
PANELS = 60


def summarize(directory: Path, statistic: str = "median", form: str = "text") -> int:
    """Print the tables of a sweep, write DIR/summary.csv and DIR/figures/; gives the exit status.

    Arguments:
        directory: the sweep directory.
        statistic: "median", with the range, or "mean", with the standard error, over seeds.
        form: "text", "markdown" or "latex". The last two print the tables alone on stdout, for a document.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such directory")
    if (directory / "config.yaml").is_file():
        raise ConfigError(f"{directory}: is a run; a sweep is the directory above its runs")
    check_links(directory)
    table = load_sweep(directory)
    names = [Path(run).name for run in table["directory"]]
    width = None if sys.stdout.isatty() else 160
    console = Console(markup=False, emoji=False, highlight=False, width=width, stderr=form != "text")
    tables = {"runs": runs_table(table).assign(run=names), "over seeds": seeds_table(table, statistic)}
    for title, each in tables.items():
        if each is not None:
            console.print(_rich(each, title)) if form == "text" else print(f"{FORMS[form](each)}\n")
    wrong = table.assign(run=names)[table["status"] != "done"]
    if len(wrong):
        said = wrong["error"].where(wrong["error"].notna(), "")
        console.print(_rich(wrong[["run", "status"]].assign(error=said), "not done"))
    counts = ", ".join(f"{count} {status}" for status, count in table["status"].value_counts().items())
    console.print(f"{len(table)} run{'s' if len(table) > 1 else ''}: {counts}")
    for file in _changed_files(table):
        print(
            f"flowlab: {printable(file)}: has changed meanwhile: not all runs have seen the same data", file=sys.stderr
        )
    for path in _write(directory, table.assign(directory=names), table):
        console.print(f"wrote {path}", soft_wrap=True)
    return NOT_DONE if len(wrong) else DONE


def measure(table: pandas.DataFrame) -> str:
    """The metric that compares the runs of a sweep: "kl" where every result has it, otherwise "nll", or else "elbo"."""
    done = table[table["status"] == "done"]
    whole = (name for name in ("kl", "nll", "elbo") if name in table and len(done) and done[name].notna().all())
    return next(whole, "nll")


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


def seeds_table(table: pandas.DataFrame, statistic: str = "median") -> pandas.DataFrame | None:
    """For each setting, as text: how many seeds are done, and median, least and greatest kl or nll in nats.

    With statistic="mean" the mean and its standard error, the deviation between seeds over the root of their number, in
    place of the last three. None where no setting has several seeds.
    """
    value = measure(table)
    settings = [name for name in varied_settings(table) if name != "seed"]
    known = table.dropna(subset="seed") if "seed" in table else table[:0]  # one that could not be read has no seed
    if known.empty or value not in table:
        return None
    rows = []
    texts = _settings_as_text(known, settings)
    for texts_of_group, runs in known.groupby([texts[name] for name in settings] or (lambda _: ""), sort=False):
        values = runs[value].dropna()
        row = dict(zip(settings, texts_of_group, strict=False)) | {"done": f"{len(values)} of {len(runs)}"}
        numbers = {f"median {value} (nats)": values.median(), "least": values.min(), "greatest": values.max()}
        if statistic == "mean":
            error = "" if len(values) < 2 else f" ± {_nats(values.sem())}"
            row[f"mean {value} (nats)"] = "" if values.empty else f"{_nats(values.mean())}{error}"
        else:
            row |= {name: "" if values.empty else _nats(number) for name, number in numbers.items()}
        rows.append(row)
    return pandas.DataFrame(rows) if len(rows) < len(known) else None


def _nats(number: float) -> str:
    return f"{number:.4f}" if abs(number) < 1e4 else f"{number:.3g}"


def _settings_as_text(table: pandas.DataFrame, names: list[str]) -> pandas.DataFrame:
    """The settings of each run; an empty text where a run has no such setting, or could not be read."""
    texts = {name: setting_texts(table[name].tolist()) for name in names}
    return pandas.DataFrame(texts, index=table.index).mask(table[names].map(_is_absent), "")


def _is_absent(value: object) -> bool:
    """Whether a cell is NaN and not None, which is the value null."""
    return isinstance(value, float) and math.isnan(value)


def _rich(table: pandas.DataFrame, title: str) -> Table:
    rich = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    names, *rows = _cells(table)
    for name in names:
        rich.add_column(name, overflow="fold")
    plain = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    for row in rows:
        rich.add_row(*(cell.replace("±", "+-" if plain else "±") for cell in row))
    return rich


def as_markdown(table: pandas.DataFrame) -> str:
    """A table of texts in Markdown.

    Example:
        >>> import pandas
        >>> from flowlab.sweeps.summary import as_markdown
        >>> print(as_markdown(pandas.DataFrame({"flow.depth": ["2"], "mean kl (nats)": ["0.1 ± 0.2"]})))
        | depth | mean kl (nats) |
        |---|---|
        | 2 | 0.1 ± 0.2 |
    """
    rows = [[cell.replace("|", r"\|") for cell in row] for row in _cells(table)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(table.columns), *lines[1:]])


def as_latex(table: pandas.DataFrame) -> str:
    """A table of texts as a LaTeX tabular; it needs the package booktabs."""
    rows = [" & ".join(re.sub(r"([&%$#_{}])", r"\\\1", cell) for cell in row) + r" \\" for row in _cells(table)]
    begin = rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}"
    lines = [begin, r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines).replace("±", r"$\pm$")


def _cells(table: pandas.DataFrame) -> list[list[str]]:
    """The rows of a table as text that is safe to print, the names of the columns first."""
    body = [[printable(str(cell)) for cell in row] for row in table.itertuples(index=False)]
    return [[setting_name(name) for name in table], *body]


FORMS = {"markdown": as_markdown, "latex": as_latex}


def _changed_files(table: pandas.DataFrame) -> list[str]:
    """The data files that not all runs have seen with the same content."""
    seen: dict[str, set[str]] = {}
    for directory in table["directory"]:
        with contextlib.suppress(ConfigError):  # the table reports a damaged file
            if sha256 := read_json(Path(directory) / "provenance.json").get("data_sha256"):
                target = load_run(directory).config.target
                seen.setdefault(str(getattr(target, "path", target)), set()).add(str(sha256))
    return [path for path, contents in seen.items() if len(contents) > 1]


def _write(directory: Path, relative: pandas.DataFrame, table: pandas.DataFrame) -> list[Path]:
    """Write the table and the figures; a figure that cannot be drawn is left out."""
    written = [directory / "summary.csv"]
    write_text(written[0], to_csv(relative))
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


def sweep_figures(table: pandas.DataFrame) -> dict[str, Callable[[], Figure]]:
    """For each file name, a function that draws a figure that fits the table of a sweep.

    The result by depth, or else by the first setting that varied, with a line for each value of the others. It is a
    heat map where targets are one of two settings. It is drawn once for each target where they are one of more. And the
    densities.
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
    if others == [TARGET]:
        name = f"{value}_by_target_and_{_file_name(setting_name(x))}"
        return figures | {name: lambda: sweep_heatmap(table, value, x, TARGET, log=log)}
    name = f"{value}_by_{_file_name(setting_name(x))}"
    if TARGET not in others:
        return figures | {name: lambda: sweep_lines(table, value, x, others, log=log)}
    others.remove(TARGET)
    for target, runs in table.groupby(TARGET, sort=False):
        draw = partial(sweep_lines, runs, value, x, others, log=log, title=str(target))
        figures[f"{name}_{_file_name(str(target))}"] = draw
    return figures


def _one_target_column(table: pandas.DataFrame) -> pandas.DataFrame:
    """Put the settings by which targets differ into the column of their names."""
    targets = [name for name in varied_settings(table) if name.startswith("target.")]
    if TARGET not in targets:
        return table
    known = table[TARGET].notna()  # a run that could not be read has none
    labels = pandas.Series(setting_labels(table, targets), index=table.index).where(known)
    return table.drop(columns=targets).assign(**{TARGET: labels})


def _densities(table: pandas.DataFrame, settings: list[str]) -> Figure:
    """The densities of the first seed of each setting; where nothing else varied, of every seed."""
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
