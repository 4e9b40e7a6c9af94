"""The runs of a sweep as one table."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas

from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.schema import Config, flat, rename_keys
from flowlab.config.untrusted import read_plain_yaml
from flowlab.runs.directory import load_run, read_result
from flowlab.sweeps.manifest import NAME as MANIFEST
from flowlab.sweeps.manifest import Manifest
from flowlab.system.files import read_json

SETTINGS = {field.name for field in fields(Config)}


def load_sweep(directory: str | Path) -> pandas.DataFrame:
    """One row for each run below a directory: the settings that varied, results, status, error and directory.

    Settings have their dotted names (`flow.depth`), results the names of result.json; runs without a result have NaN
    there. A setting that is null is None; one that a run does not have is NaN. Numbers that come with an option are
    left out: with a different `target.name` goes a different `target.noise`. Rows are in the order of the job numbers.
    The status comes from status.json. It is "not begun" for a job of the manifest that has no run yet, or "unreadable"
    for a run that is half-written or damaged. `error` is None where nothing went wrong.

    Raises:
        ConfigError: there is no run below the directory.
    """
    directory = Path(local_path("directory", directory))
    # status.json is the first file of a run and config.yaml the last before it starts; one with either is a run.
    found = {path.parent for name in ("status.json", "config.yaml") for path in directory.glob(f"*/{name}")}
    manifest = Manifest.read(directory) if (directory / MANIFEST).is_file() else None
    asked_for = {directory / job["directory"]: job["config"] for job in manifest.jobs} if manifest else {}
    found |= set(asked_for)
    if not found:
        raise ConfigError(f"{directory}: there is no run in it")
    settings, results, rest = zip(
        *(_read(path, asked_for.get(path)) for path in sorted(found, key=_number)), strict=True
    )
    return pandas.concat([_varied(list(settings)), pandas.DataFrame(results), pandas.DataFrame(rest)], axis=1)


def varied_settings(table: pandas.DataFrame) -> list[str]:
    """The columns of a sweep's table that are settings, told by their names.

    Example:
        >>> import pandas
        >>> from flowlab.sweeps.table import varied_settings
        >>> varied_settings(pandas.DataFrame({"seed": [0, 1], "flow.depth": [2, 4], "kl": [0.1, 0.2]}))
        ['seed', 'flow.depth']
    """
    return [name for name in table if name.partition(".")[0] in SETTINGS]


def to_csv(table: pandas.DataFrame) -> str:
    """A table of runs as CSV; a setting that is null is the word null, which pandas reads as NaN."""
    nulls = {name: table[name].map(lambda value: "null" if value is None else value) for name in varied_settings(table)}
    return table.assign(**nulls).to_csv(index=False, lineterminator="\n")


def _number(path: Path) -> tuple[int, str]:
    return (int(path.name), "") if path.name.isdigit() else (-1, path.name)


def _read(directory: Path, config: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings, results and the rest of one run, as far as they can be read; `config` is the manifest's."""
    settings: dict[str, Any] = flat(rename_keys(config)) if config else {}
    results: dict[str, Any] = {}
    try:
        if config and not (directory / "config.yaml").is_file():  # it failed before it began, or has not begun
            said = {"status": "not begun"} | read_json(directory / "status.json")
        else:
            settings = _read_settings(directory)
            said = {"status": "unknown"} | read_json(directory / "status.json")
            results = read_result(directory / "result.json")
    except ConfigError as unreadable:
        said = {"status": "unreadable", "error": str(unreadable)}
    rest = {"status": str(said["status"]), "error": said.get("error"), "directory": str(directory)}
    return settings, results, rest


def _read_settings(directory: Path) -> dict[str, Any]:
    """The settings of a run; as they are written where its classes are not allowed or not installed."""
    try:
        return flat(load_run(directory).config.to_dict())
    except ConfigError:
        if (directory / "config.yaml").is_file():
            return flat(rename_keys(read_plain_yaml(directory / "config.yaml")))
        raise


def _varied(runs: list[dict[str, Any]]) -> pandas.DataFrame:
    table = pandas.DataFrame(runs, dtype=object)  # pandas would turn null among numbers into NaN
    table = table.apply(lambda column: column if any(value is None for value in column) else column.infer_objects())
    words = table[[bool(run) for run in runs]].map(str)  # lists and null are values like others
    groups = list(dict.fromkeys(name.partition(".")[0] for name in words))
    varied: list[str] = []
    for name in sorted(words, key=lambda name: groups.index(name.partition(".")[0])):  # each group's side by side
        # Another option of a group, as another target, brings its own numbers: its name says them all.
        group = name.partition(".")[0] + "."
        before = [other for other in varied if other.startswith(group)]
        implied = f"{group}name" in before and (words.groupby(before)[name].nunique() == 1).all()
        if words[name].nunique() > 1 and not implied:
            varied.append(name)
    return table[varied]
