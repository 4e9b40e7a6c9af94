"""The runs of a sweep as one table."""

from __future__ import annotations

from pathlib import Path

import pandas

from flowlab.config import flat, to_dict
from flowlab.schemas import ConfigError
from flowlab.training.directory import Run, load_run


def load_sweep(directory: str | Path) -> pandas.DataFrame:
    """One row for each run below a directory: the settings that varied, the results, the status, and where it lies.

    Settings have their dotted names (`flow.depth`), results the names of result.json; runs without a result have NaN
    there. Rows are in the order of the job numbers.

    Raises:
        ConfigError: there is no run below the directory.
    """
    directory = Path(directory)
    paths = sorted((path.parent for path in directory.glob("*/config.yaml")), key=_number)
    if not paths:
        raise ConfigError(f"{directory}: there is no run in it")
    runs = [load_run(path) for path in paths]
    settings = pandas.DataFrame([flat(to_dict(run.config)) for run in runs])
    varied = [name for name in settings if settings[name].astype(str).nunique() > 1]
    results = pandas.DataFrame([run.result for run in runs])
    rest = pandas.DataFrame(
        {"status": [_status(run) for run in runs], "directory": [str(run.directory) for run in runs]}
    )
    return pandas.concat([settings[varied], results, rest], axis=1)


def _number(path: Path) -> tuple[int, str]:
    return (int(path.name), "") if path.name.isdigit() else (-1, path.name)


def _status(run: Run) -> str:
    return run.status.get("status", "unknown")
