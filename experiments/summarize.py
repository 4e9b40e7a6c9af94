"""The runs of a sweep as tables and figures: `python experiments/summarize.py runs/SWEEP`; `--help` says more.

`--record PATH` also writes a record of the sweep, fit to be committed beside the code: its table, where it came from,
and curves. Exit status: 0 every run is done, 1 some are not, 2 a mistake of the user.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from flowlab.cli.command import report_mistakes
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.plotting.labels import setting_texts
from flowlab.sweeps.manifest import NAME as MANIFEST
from flowlab.sweeps.summary import FORMS, summarize
from flowlab.sweeps.table import load_sweep, to_csv, varied_settings
from flowlab.system.files import read_json, write_json, write_text
from flowlab.system.process import protect_output

SAME = ("git_commit", "git_dirty", "flowlab", "python", "packages", "platform", "device", "threads", "command")
ROWS = 100  # of a curve, about
ABSOLUTE = re.compile(r"(^|[=\[(,'\"])/[^'\"\[\](),]*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line, given without the program's name; gives the exit status."""
    with protect_output():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser("summarize.py", description="The runs of a sweep: a table, figures, a record.")
    parser.add_argument("directory", metavar="DIR", type=Path, help="the sweep directory, which holds one for each run")
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
    parser.add_argument(
        "--statistic",
        choices=("median", "mean"),
        default="median",
        help="over seeds; mean with its standard error",
    )
    parser.add_argument(
        "--format",
        choices=("text", *FORMS),
        default="text",
        help="of the tables; markdown, latex: for a document",
    )
    options = parser.parse_args(arguments)
    if options.curve and not options.record:
        parser.error("--curve: is written beside a record; name it with --record PATH")
    if options.record and not options.record.name:
        parser.error(f"--record {options.record}: must end in a name, to which .csv and .json are added")
    return report_mistakes(lambda: _summarize(options), "the same command begins again")


def _summarize(options: argparse.Namespace) -> int:
    for metric in options.curve:
        check_curve(load_sweep(options.directory)["directory"], metric)
    directory = Path(local_path("DIR", options.directory))
    status = summarize(directory, options.statistic, options.format)
    for path in write_record(directory, options.record, options.curve) if options.record else ():
        print(f"wrote {path}")
    return status


def write_record(directory: str | Path, path: str | Path, curves: Sequence[str] = ()) -> list[Path]:
    """Write PATH.csv, the settings that varied and the results of each run, and PATH.json, where they came from.

    For each metric of which the curves are wanted, write PATH_METRIC.csv too, see `write_curve`; and PATH.csv has its
    first, its largest and its last value, of all that a run has logged, as METRIC_first and so on.

    Where runs failed, PATH.csv says why. The same sweep gives the same bytes. Of an absolute path the last part is
    kept, or more where two paths end alike. In PATH.json, what differs between runs is a list;
    `training_seconds` is the sum over runs, `wall_seconds` comes from the sweep's manifest.json, if it has one.

    Raises:
        ConfigError: there is no run, the runs come from several commits, or none has a value of a metric.
    """
    table = load_sweep(directory)
    for metric in curves:
        table = table.assign(**_extremes(table["directory"], metric))
    origins = [read_json(Path(run) / "provenance.json") for run in table["directory"]]
    origins += [resumed for origin in origins for resumed in origin.get("resumed", [])]
    _one_commit(origins)
    seconds = table["seconds"].sum() if "seconds" in table else 0.0
    manifest = read_json(Path(directory) / MANIFEST)
    content: dict[str, Any] = {
        "runs": len(table),
        "status": dict(sorted(Counter(table["status"]).items())),
        "training_seconds": round(float(seconds), 3),
        **({"wall_seconds": manifest["seconds"]} if "seconds" in manifest else {}),
        "begun": min((origin["time"] for origin in origins if "time" in origin), default=None),
    }
    for key in (*SAME, "data_sha256"):
        values = _distinct(without_paths(origin[key]) for origin in origins if key in origin)
        if values:
            content[key] = values[0] if len(values) == 1 else values
    # Where nothing went wrong, a column of errors would say nothing.
    rows = table.drop(columns=["directory", *([] if table["error"].notna().any() else ["error"])])
    for name in varied_settings(rows):  # two files of one name stay two values
        texts = setting_texts(rows[name])
        rows[name] = [text if _is_path(value) else value for value, text in zip(rows[name], texts, strict=True)]
    rows = rows.map(without_paths)
    csv, json_ = (Path(f"{_stem(path)}.{ending}") for ending in ("csv", "json"))
    csv.parent.mkdir(parents=True, exist_ok=True)
    write_text(csv, to_csv(rows))
    write_json(json_, content)
    return [csv, json_, *(write_curve(directory, metric, path) for metric in curves)]


def write_curve(directory: str | Path, metric: str, path: str | Path) -> Path:
    """Write PATH_METRIC.csv: a metric of all runs by step, a column for each row of PATH.csv, numbered from 0.

    Of the steps at which it was logged about 100 are kept, half of them evenly spaced and half in their logarithm, so
    that the beginning can be read as well as the end; and of a value five significant digits. Where a run has no value,
    as after it failed, the field is empty.

    Arguments:
        directory: of the sweep.
        metric: a column of metrics.csv, such as "loss".
        path: of the record.

    Raises:
        ConfigError: there is no run, or none has a value of the metric.
    """
    runs = [Path(run) / "metrics.csv" for run in load_sweep(directory)["directory"]]
    curves = pandas.concat([_logged(file, metric) for file in runs], axis=1, keys=range(len(runs))).sort_index()
    if curves.empty:
        raise ConfigError(f"{directory}: no run has a value of {metric}")
    count = len(curves)
    every = -(-2 * count // ROWS)
    in_logarithm = np.geomspace(1, count, ROWS // 2).round().astype(int) - 1
    kept = curves.iloc[sorted({*range(every - 1, count, every), *in_logarithm.tolist()})]
    csv = Path(f"{_stem(path)}_{metric}.csv")
    csv.parent.mkdir(parents=True, exist_ok=True)
    write_text(csv, kept.to_csv(index_label="step", float_format="%.5g", lineterminator="\n"))
    return csv


def check_curve(directories: Iterable[str], metric: str) -> None:
    """Check that runs log a metric.

    Raises:
        ConfigError: a run that has logged rows has no such column.
    """
    for directory in directories:
        _logged(Path(directory) / "metrics.csv", metric)


def _logged(file: Path, metric: str) -> pandas.Series:
    """The values of a metric by step; none of a run that has logged nothing yet."""
    if not file.is_file():
        return pandas.Series(dtype=float)
    try:
        metrics = pandas.read_csv(file, index_col="step")
    except ValueError as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    if metric not in metrics:
        raise ConfigError(f"--curve {metric}: runs log no such metric; they log {', '.join(metrics)}")
    return metrics[metric].astype(float).dropna()


def _extremes(directories: Iterable[str], metric: str) -> dict[str, list[float | None]]:
    """The first, the largest and the last value of a metric of each run, to five significant digits."""
    runs = [_logged(Path(run) / "metrics.csv", metric) for run in directories]
    picked = {
        "first": [run.iloc[0] if len(run) else None for run in runs],
        "largest": [run.max() if len(run) else None for run in runs],
        "last": [run.iloc[-1] if len(run) else None for run in runs],
    }
    return {
        f"{metric}_{name}": [None if value is None else float(f"{value:.5g}") for value in values]
        for name, values in picked.items()
    }


def _stem(path: str | Path) -> str:
    return local_path("--record", path).removesuffix(".csv").removesuffix(".json")


def without_paths(value: Any) -> Any:
    """Cut absolute paths, which tell of a machine, down to their last part."""
    if isinstance(value, list):
        return [without_paths(each) for each in value]
    if not isinstance(value, str):
        return value
    return ABSOLUTE.sub(lambda found: found[1] + Path(found[0][len(found[1]) :]).name, value)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and Path(value).is_absolute()


def _one_commit(origins: list[dict[str, Any]]) -> None:
    commits = Counter(str(origin.get("git_commit")) for origin in origins if origin)
    if len(commits) > 1:
        counts = ", ".join(f"{commit} ({count})" for commit, count in commits.items())
        raise ConfigError(f"the runs come from several commits, so they are not one record: {counts}")


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


if __name__ == "__main__":
    sys.exit(main())
