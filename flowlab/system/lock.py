"""A directory belongs to one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from flowlab.config.schemas import ConfigError
from flowlab.system.files import WriteError, writing

_held: dict[Path, int] = {}  # the directories that this process has locked, and their descriptors


@contextlib.contextmanager
def locked(directory: Path, what: str = "training this run") -> Iterator[None]:
    """Keep a directory to this process; the lock goes with the process, however that ends.

    Raises:
        ConfigError: another process holds it.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held[directory.absolute()] = descriptor
        try:
            yield
        finally:
            del _held[directory.absolute()]
    except BlockingIOError:
        raise ConfigError(f"{directory}: another process is {what}") from None
    finally:
        os.close(descriptor)


def check_unlocked(directory: Path) -> None:
    """Refuse a run directory that another process works on.

    Raises:
        ConfigError: one does, or it is not a directory.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is not a directory; move it away")
    if directory.is_dir():
        with locked(directory):
            pass


def check_held(directory: Path) -> None:
    """See that a directory is still the one that this process has locked, if it has.

    Somebody may have removed it, taking the run for dead, and have begun another there: what this process writes would
    get into that.

    Raises:
        WriteError: it is not.
    """
    descriptor = _held.get(directory.absolute())
    if descriptor is None:
        return  # another process of this run has, as for a rank
    with writing(directory):
        if not os.path.samestat(os.fstat(descriptor), os.stat(directory)):
            raise WriteError(errno.ESTALE, "another directory has taken its place", str(directory))
