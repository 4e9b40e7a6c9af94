"""status.json: what has become of a run, true at every moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from flowlab.files import write_json
from flowlab.schemas import ConfigError
from flowlab.training.directory import Run


@contextlib.contextmanager
def told(*runs: Run, to_the_end: bool = True) -> Iterator[None]:
    """Say of runs that they are running, then how it ended; an error is written down and goes on to the caller.

    Arguments:
        runs: one, or those of a stack.
        to_the_end: the runs are done when the block is; otherwise something is still to come.

    Raises:
        ConfigError: another process works on one of the directories.
        KeyboardInterrupt: the run was interrupted; also where Lightning has made an exit of it.
    """
    with contextlib.ExitStack() as locks:
        for run in runs:
            locks.enter_context(locked(run.directory))
        with _told(runs, to_the_end):
            yield


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


def interrupt(run: Run) -> None:
    """Write down that a run was interrupted."""
    _write([run], status="interrupted", error=f"interrupted; go on with resume={run.directory}")


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


def fail(run: Run, error: Exception) -> None:
    """Write down that a run failed outside its training: it could not be opened, or its process died.

    Raises:
        ConfigError: another process works on the directory.
    """
    run.directory.mkdir(parents=True, exist_ok=True)
    with locked(run.directory):
        _fail([run], error)


@contextlib.contextmanager
def _told(runs: tuple[Run, ...], to_the_end: bool) -> Iterator[None]:
    _write(runs, status="running")
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        for run in runs:
            interrupt(run)
        kind = type(stop) if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt
        raise kind(", ".join(f"resume={run.directory}" for run in runs)) from None
    except Exception as error:
        _fail(runs, error)
        raise
    if to_the_end:
        _write(runs, status="done")


def _fail(runs: Sequence[Run], error: Exception) -> None:
    message, trace = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    _write(runs, status="failed", error=message, traceback=trace)


def _write(runs: Sequence[Run], **content: str) -> None:
    for run in runs:
        write_json(run.directory / "status.json", content)
