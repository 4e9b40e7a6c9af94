"""The data of a sweep: what its runs began with is what the others get, however late they begin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from flowlab.config.errors import ConfigError
from flowlab.runs.directory import Run, load_run
from flowlab.system.files import read_json
from flowlab.targets.base import Target


def check_same_data(runs: Sequence[Run]) -> None:
    """Refuse to continue with runs where those before them had other data, for a table of both would mean nothing.

    Arguments:
        runs: of a sweep: done, begun, or not begun yet.

    Raises:
        ConfigError: a file has changed since one of them began.
    """
    targets: dict[str, Target] = {}
    begun: list[tuple[Run, str]] = []
    waiting = False
    for run in runs:
        with contextlib.suppress(ConfigError):  # of a damaged file it is said when the run is opened
            waiting |= not run.done
            if "data_sha256" in run.provenance:
                begun.append((run, run.provenance["data_sha256"]))
    for run, sha256 in begun if waiting else ():
        name = str(run.config.target)
        target = targets[name] = targets.get(name) or run.config.target.build()
        if target.fingerprint != sha256:
            raise ConfigError(
                f"{getattr(target, 'path', name)}: the file has changed since {run.directory} began, and a sweep has "
                "the same data to its end; put it back, or start a new sweep"
            )


def files_that_changed(directories: Iterable[str | Path]) -> list[str]:
    """The data files that runs have not all seen with the same content."""
    seen: dict[str, set[str]] = {}
    for directory in directories:
        with contextlib.suppress(ConfigError):  # of a damaged file the table tells
            if sha256 := read_json(Path(directory) / "provenance.json").get("data_sha256"):
                target = load_run(directory).config.target
                seen.setdefault(str(getattr(target, "path", target.name)), set()).add(str(sha256))
    return [path for path, contents in seen.items() if len(contents) > 1]
