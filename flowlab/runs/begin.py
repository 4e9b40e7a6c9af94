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

# Files that a run has before it has begun; config.yaml comes last.
EARLY = ("status.json", "provenance.json")


def begin(config: Config, target: Target, directory: Path, group: str | None) -> Run:
    """Make a run directory, with all that is known before the first step.

    Raises:
        ConfigError: the directory holds something, another run has just begun in it, or it cannot be written.
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
            check_directory(directory)  # a process that started at the same time may have written
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
    """Remove the files of a run that ended before it had begun."""
    for path in _early_files(directory):
        path.unlink(missing_ok=True)


def _early_files(directory: Path) -> set[Path]:
    whole = {directory / name for name in EARLY}
    return whole | {part_path(path) for path in (*whole, directory / "config.yaml")}


def write_config(run: Run) -> None:
    """Write config.yaml."""
    write_text(run.directory / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(run.config.to_dict())))


def with_absolute_paths(config: Config) -> Config:
    """The configuration with absolute paths, so a run finds its files from any working directory."""
    return replace(config, target=config.target.with_absolute_paths())


def check_directory(directory: Path) -> None:
    """Refuse a run directory that is not empty, so no run overwrites another.

    The files of a run that was killed before it had begun do not count.

    Raises:
        ConfigError: it is not empty, or not a directory.
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
