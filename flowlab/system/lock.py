"""Lock a directory for one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from flowlab.config.errors import ConfigError
from flowlab.system.files import WriteError, raise_write_error

_locks: dict[Path, int] = {}  # the directories that this process has locked, with their file descriptors


@contextlib.contextmanager
def lock_directory(directory: Path, activity: str = "training this run") -> Iterator[None]:
    """Lock a directory inside the block; the system releases the lock when the process ends, however it ends.

    Arguments:
        directory: an existing directory.
        activity: completes the error message "another process is ...".

    Raises:
        ConfigError: a different process has locked the directory.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _locks[directory.absolute()] = descriptor
        try:
            yield
        finally:
            del _locks[directory.absolute()]
    except BlockingIOError:
        raise ConfigError(f"{directory}: another process is {activity}") from None
    finally:
        os.close(descriptor)


def check_unlocked(directory: Path) -> None:
    """Check that no process has locked a directory, which need not exist.

    Raises:
        ConfigError: a process has locked it, or it is not a directory.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory}: is not a directory; move it away")
    if directory.is_dir():
        with lock_directory(directory):
            pass


def check_not_replaced(directory: Path) -> None:
    """Check that a directory is still the one that this process has locked.

    Somebody may have removed the directory and started a new run there; this process must not write into that run.
    A rank has no lock of its own, and then there is nothing to check.

    Raises:
        WriteError: the directory is gone, or a new one is in its place.
    """
    descriptor = _locks.get(directory.absolute())
    if descriptor is None:
        return
    with raise_write_error(directory):
        if not os.path.samestat(os.fstat(descriptor), os.stat(directory)):
            raise WriteError(errno.ESTALE, "another directory has taken its place", str(directory))
