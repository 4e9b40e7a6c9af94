"""Begin a run directory, refuse to overwrite one, and record its provenance."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

import flowlab
from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.config.security import redact_command
from flowlab.distributed.world import resolve_device
from flowlab.runs.directory import Run
from flowlab.system.files import lock_directory, part_path, write_json, write_text
from flowlab.targets.base import Target

# Files that are written before config.yaml, which makes a directory a run.
EARLY = ("status.json", "provenance.json")
PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "numpy", "scipy", "pandas", "matplotlib", "wandb")


def begin(config: Config, target: Target, directory: Path, group: str | None) -> Run:
    """Make a run directory, with the files that are known before the first step.

    Raise ConfigError if the directory is not empty, another run has just begun in it, or it cannot be written.
    """
    check_directory(directory)
    config = with_absolute_paths(config)
    record = provenance(config) | {"run_id": uuid.uuid4().hex[:8], "group": group}
    if target.fingerprint is not None:
        record |= {"data_sha256": target.fingerprint, "columns": target.columns}
    if target.schema is not None:
        record |= {"schema": target.schema.to_dict()}
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
    """Raise ConfigError unless a run directory is new or empty, so no run overwrites another.

    Files that a run leaves when it is killed before its config.yaml is written do not count.
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


def provenance(config: Config) -> dict[str, Any]:
    """The origin of a run and the settings of its machine, as plain data."""
    gpu = resolve_device(config.trainer.accelerator).type == "cuda" and torch.cuda.is_available()
    return {
        **origin(),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "processes": config.trainer.processes,
        "threads": config.trainer.threads,
        "seed": config.seed,
    }


def origin() -> dict[str, Any]:
    """The code, versions, machine and command of this process, as plain data, without secrets."""
    commit, dirty = _git()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "flowlab": flowlab.__version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "command": redact_command(sys.argv),
    }


@functools.cache  # the jobs of a sweep share it: this process runs the code that it has imported
def _git() -> tuple[str | None, bool | None]:
    """The commit of flowlab's source, and whether files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        _run_git(here, "ls-files", "--error-unmatch", Path(__file__).name)  # the repository must be flowlab's
        commit = _run_git(here, "rev-parse", "HEAD")
        return commit, bool(_run_git(here, "status", "--porcelain", "--", ":/flowlab", ":/conf", ":/experiments"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _run_git(directory: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *words], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
