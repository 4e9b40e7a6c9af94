"""A path that a user gives: `~` is the home directory, and an address is refused."""

from __future__ import annotations

import os
import re

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
