"""The directories of a command line: checks of their names, and that they can be made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowlab.config.errors import ConfigError
from flowlab.config.secrets import check_written


def check_directory_name(key: str, directory: str) -> str:
    """Check the name of a directory; gives it.

    Raises:
        ConfigError: the name is empty, which would mean the working directory, or it is a secret.
    """
    check_written(directory, key)
    if not directory.strip():
        raise ConfigError(f"{key}: must be given: {key}=DIR; the working directory is {key}=.")
    return directory


def find_directory(composed: DictConfig, sweep: Path | None) -> Path:
    """The directory that Hydra gives a job.

    Raises:
        ConfigError: a setting of Hydra conflicts with a run directory.
    """
    settings = composed.hydra
    if settings.output_subdir is not None or "file" in settings.job_logging.get("handlers", {}):
        raise ConfigError(
            "hydra.output_subdir, hydra/job_logging: Hydra would write into the run directory; leave them out"
        )
    if not isinstance(settings.verbose, bool | str | ListConfig):
        raise ConfigError(f"hydra.verbose={settings.verbose}: must be true, false or the names of loggers")
    if settings.job.chdir:
        raise ConfigError("hydra.job.chdir: a run does not change the working directory; leave it out")
    if sweep is None:
        with name_key_in_errors("hydra.run.dir"):
            return Path(check_directory_name("hydra.run.dir", str(settings.run.dir)))
    if "now:" in str(OmegaConf.to_container(settings.sweep, resolve=False)["subdir"]):  # type: ignore[call-overload,index]
        raise ConfigError(
            "hydra.sweep.subdir: must not hold a time, or a resumed sweep would not find its jobs; leave it out"
        )
    with name_key_in_errors("hydra.sweep.subdir"):
        subdir = str(settings.sweep.subdir)
    check_written(subdir, "hydra.sweep.subdir")
    if Path(subdir).name != subdir or subdir in ("", ".."):
        raise ConfigError(f"hydra.sweep.subdir={subdir}: must be one name, of a directory in the sweep's directory")
    return sweep / subdir


def check_can_be_made(directory: Path) -> None:
    """Check that a directory can be made, without leaving a trace; Hydra makes it when the job begins.

    Raises:
        ConfigError: it cannot be made.
    """
    made = next(parent for parent in (directory, *directory.parents) if parent.exists())
    with name_directory_in_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    while directory != made:
        directory.rmdir()
        directory = directory.parent


@contextlib.contextmanager
def name_key_in_errors(key: str) -> Iterator[None]:
    """Turn an error of an interpolation into a ConfigError that names its key."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}: {error}".splitlines()[0]) from None


@contextlib.contextmanager
def name_directory_in_errors(directory: Path) -> Iterator[None]:
    """Turn an error of the file system into a ConfigError that names the directory."""
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError: a NUL in the name
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{directory}: cannot be made: {getattr(error, 'strerror', error)}") from None
