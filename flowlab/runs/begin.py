"""Begin a run directory, and refuse to overwrite one."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf

from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.runs.directory import Run
from flowlab.runs.provenance import provenance
from flowlab.system.files import part_path, write_json, write_text
from flowlab.system.lock import lock_directory
from flowlab.targets.base import Target

# Files that are written before config.yaml, which makes a directory a run.
EARLY = ("status.json", "provenance.json")


def begin(config: Config, target: Target, directory: Path, group: str | None) -> Run:
    """Make a run directory, with the files that are known before the first step.

    Raises:
        ConfigError: the directory is not empty, another run has just begun in it, or it cannot be written.
    """
    check_directory(directory)
    config = with_absolute_paths(config)
    record = provenance(config) | {"run_id": uuid.uuid4().hex[:8], "group": group}
    if target.fingerprint is not None:
        record["data_sha256"] = target.fingerprint
    run = Run(directory, config)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with lock_directory(directory):
            check_directory(directory)  # another process may have begun a run meanwhile
            _remove_early_files(directory)
            try:
                write_json(directory / "status.json", {"status": "running"})
                write_json(directory / "provenance.json", record)
                write_config(run)  # last: a directory with it is a run
            except OSError:
                _remove_early_files(directory)
                raise
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written: {error.strerror}") from None
    return run


def _remove_early_files(directory: Path) -> None:
    """Remove the files of a run that was killed before its config.yaml was written."""
    for path in _early_files(directory):
        path.unlink(missing_ok=True)


def _early_files(directory: Path) -> set[Path]:
    complete = {directory / name for name in EARLY}
    return complete | {part_path(path) for path in (*complete, directory / "config.yaml")}


def write_config(run: Run) -> None:
    """Write config.yaml."""
    write_text(run.directory / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(run.config.to_dict())))


def with_absolute_paths(config: Config) -> Config:
    """The configuration with absolute paths, so a run finds its files from any working directory."""
    return replace(config, target=config.target.with_absolute_paths())


def check_directory(directory: Path) -> None:
    """Check that a run directory is empty, so no run overwrites another.

    Files that a run leaves when it is killed before its config.yaml is written do not count.

    Raises:
        ConfigError: it is not empty, or is not a directory.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is not a directory")
    if directory.exists() and set(directory.iterdir()) - _early_files(directory):
        raise ConfigError(
            f"{directory}: exists and is not empty; choose another directory, or continue the run: resume={directory}"
        )


def default_directory(config: Config) -> Path:
    """A new directory under runs/, named after time, target and seed."""
    return Path("runs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}_{config.target.name}_seed{config.seed}"
