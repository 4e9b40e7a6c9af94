"""A path that a user gives: `~` is the home directory, and an address is refused."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flowlab.config.errors import ConfigError

ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:/")  # with one slash too, as pathlib writes it


def local_path(key: str, path: str | os.PathLike[str]) -> str:
    """A path of this machine, with the home directory in place of `~`; `key` names it in messages.

    Raises:
        ConfigError: it is an address, or there is no such home directory.

    Example:
        >>> from flowlab.config.paths import local_path
        >>> local_path("target.path", "~/points.csv") == local_path("target.path", "~") + "/points.csv"
        True
    """
    text = os.fspath(path)
    if ADDRESS.match(text):
        raise ConfigError(
            f"{key}={text}: no such file or directory on this machine, and addresses are not read; copy it here and "
            "give its path"
        )
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ConfigError(
            f"{key}={text}: there is no such home directory; write ./{text} for a name that begins with ~"
        )
    return expanded


def new_file(key: str, name: str, endings: Sequence[str]) -> Path:
    """The path of a file that does not exist yet, in a directory that can be written to.

    Arguments:
        key: names the path in messages.
        name: what a user gives.
        endings: the endings that a name may have.

    Raises:
        ConfigError: the file exists, has a different ending, or its directory is missing or cannot be written to.
    """
    path = Path(local_path(key, name))
    if not path.name.endswith(tuple(endings)):
        raise ConfigError(f"{key}={name}: must end in {' or '.join(endings)}")
    if path.exists():
        raise ConfigError(f"{key}={name}: exists already, and is not overwritten; choose another name")
    if not path.parent.is_dir():
        raise ConfigError(f"{key}={name}: there is no directory {path.parent}; make it first")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise ConfigError(
            f"{key}={name}: cannot be written: {error.strerror}; choose a directory that you may write to"
        ) from None
