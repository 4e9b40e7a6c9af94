"""The directories of YAML: flowlab's, and a user's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from flowlab.config.errors import ConfigError


@cache
def conf_directory() -> Path:
    """The directory of the YAML: inside the installed package, or beside it in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def training_settings(preset: str) -> dict[str, dict[str, Any]]:
    """The settings of conf/target/training/PRESET.yaml, by group: what suits training on such a target."""
    from omegaconf import OmegaConf

    path = conf_directory() / "target" / "training" / f"{preset}.yaml"
    return OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[return-value]


users_directory: ContextVar[Path | None] = ContextVar("a user's own directory of YAML", default=None)


def conf_directories() -> list[Path]:
    """The directories of YAML: flowlab's, and a user's own inside `use_directory`."""
    return [conf_directory(), *([users] if (users := users_directory.get()) else [])]


@contextmanager
def use_directory(directory: str | Path | None) -> Iterator[None]:
    """Let a directory of a user's own add options to the groups inside the block, as experiment/NAME.yaml in it.

    Raises:
        ConfigError: there is no such directory, or it has an option that flowlab has.
    """
    if directory is not None and not Path(directory).is_dir():
        raise ConfigError(f"--config-dir={directory}: there is no such directory")
    users = None if directory is None else Path(directory).resolve()
    for path in users.glob("*/*.yaml") if users else ():
        if (conf_directory() / path.parent.name / path.name).is_file():
            raise ConfigError(f"{path}: flowlab has {path.parent.name}={path.stem} already; choose another name")
    token = users_directory.set(users)
    try:
        yield
    finally:
        users_directory.reset(token)
