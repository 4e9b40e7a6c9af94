"""The directories of a command line: named, resolved, and found fit to be made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowlab.config.errors import ConfigError
from flowlab.config.secrets import check_written


def given(key: str, directory: str) -> str:
    """A directory that a user has named.

    Raises:
        ConfigError: it has no name, which would mean the working directory; or the name is a secret.
    """
    check_written(directory, key)
    if not directory.strip():
        raise ConfigError(f"{key}: must be given: {key}=DIR; the working directory is {key}=.")
    return directory


def find_directory(composed: DictConfig, sweep: Path | None) -> Path:
    """Where Hydra will put a job; also refuses settings of Hydra that get in the way of a run directory."""
    settings = composed.hydra
    if settings.output_subdir is not None or "file" in settings.job_logging.get("handlers", {}):
        raise ConfigError(
            "hydra.output_subdir, hydra/job_logging: Hydra would write into the run directory; leave them"
        )
    if not isinstance(settings.verbose, bool | str | ListConfig):
        raise ConfigError(f"hydra.verbose={settings.verbose}: must be true, false or the names of loggers")
    if settings.job.chdir:
        raise ConfigError("hydra.job.chdir: a run does not change the working directory; leave it")
    if sweep is None:
        with resolve_errors("hydra.run.dir"):
            return Path(given("hydra.run.dir", str(settings.run.dir)))
    if "now:" in str(OmegaConf.to_container(settings.sweep, resolve=False)["subdir"]):  # type: ignore[call-overload,index]
        raise ConfigError("hydra.sweep.subdir: must not hold a time, for a sweep that continues would look elsewhere")
    with resolve_errors("hydra.sweep.subdir"):
        subdir = str(settings.sweep.subdir)
    check_written(subdir, "hydra.sweep.subdir")
    if Path(subdir).name != subdir or subdir in ("", ".."):
        raise ConfigError(f"hydra.sweep.subdir={subdir}: must be one name, for a directory in that of the sweep")
    return sweep / subdir


def check_can_be_made(directory: Path) -> None:
    """See that a directory can be made, and leave no trace of it: Hydra makes it again when the job begins."""
    made = next(parent for parent in (directory, *directory.parents) if parent.exists())
    with make_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    while directory != made:
        directory.rmdir()
        directory = directory.parent


@contextlib.contextmanager
def resolve_errors(key: str) -> Iterator[None]:
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}: {error}".splitlines()[0]) from None


@contextlib.contextmanager
def make_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError: a NUL in the name
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{directory}: cannot be made: {getattr(error, 'strerror', error)}") from None
