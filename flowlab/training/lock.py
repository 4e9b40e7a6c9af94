"""A directory belongs to one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from flowlab.schemas import ConfigError


@contextlib.contextmanager
def locked(directory: Path, what: str = "training this run") -> Iterator[None]:
    """Keep a directory to this process; the lock goes with the process, however that ends.

    Raises:
        ConfigError: another process holds it.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"{directory}: another process is {what}") from None
    finally:
        os.close(descriptor)


def check_unlocked(directory: Path) -> None:
    """Refuse a run directory that another process works on.

    Raises:
        ConfigError: one does.
    """
    if directory.is_dir():
        with locked(directory):
            pass
