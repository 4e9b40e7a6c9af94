"""status.json: the state of a run, correct at every moment."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence

from flowlab.config.secrets import redact
from flowlab.runs.directory import Run
from flowlab.system.files import DISK_FULL, WriteError, overwrite_json, write_json
from flowlab.system.lock import check_not_replaced, lock_directory


@contextlib.contextmanager
def track_status(*runs: Run, to_the_end: bool = True) -> Iterator[None]:
    """Record that runs are running, then how they end; an error is recorded and raised again.

    Arguments:
        runs: one run, or the runs of a stack.
        to_the_end: the runs are done when the block ends; otherwise more work follows.

    Raises:
        ConfigError: another process works on one of the directories.
        KeyboardInterrupt: the run was interrupted, or ended by SystemExit.
        WriteError: a file of a run could not be written; the message now says how to resume.
    """
    with contextlib.ExitStack() as locks:
        for run in runs:
            locks.enter_context(lock_directory(run.directory))
        with _track(runs, to_the_end):
            yield


def mark_interrupted(run: Run) -> None:
    """Record that a run was interrupted, if possible."""
    _write_if_possible(run, status="interrupted", error=f"interrupted; continue with resume={run.directory}")


def mark_failed(run: Run, error: Exception) -> None:
    """Record that a run failed outside its training: it could not be opened, or its process died.

    Raises:
        ConfigError: another process works on the directory.
    """
    run.directory.mkdir(parents=True, exist_ok=True)
    with lock_directory(run.directory):
        _fail(run, error)


@contextlib.contextmanager
def _track(runs: tuple[Run, ...], to_the_end: bool) -> Iterator[None]:
    _write(runs, status="running")
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        for run in runs:
            mark_interrupted(run)
        kind = type(stop) if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt
        raise kind(", ".join(f"resume={run.directory}" for run in runs)) from None
    except WriteError as error:
        for run in runs:
            error.advice = f"; when it can be, continue with resume={run.directory}"
            if not _write_if_possible(run, status="failed", error=str(error)):
                error.advice += " (status.json cannot be written either, and still says running)"
        raise
    except Exception as error:
        for run in runs:
            _fail(run, error)
        raise
    if to_the_end:
        _write(runs, status="done")


def _fail(run: Run, error: Exception) -> None:
    message, trace = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    content = {"status": "failed", "error": redact(message)}
    if not _write_if_possible(run, **content, traceback=redact(trace)):
        _write_if_possible(run, **content)  # on a nearly full disk


def _write_if_possible(run: Run, **content: str) -> bool:
    """Record how a run has ended; gives False if that cannot be written either."""
    try:
        _write([run], **content)
    except WriteError:
        return False
    return True


def _write(runs: Sequence[Run], **content: str) -> None:
    for run in runs:
        check_not_replaced(run.directory)
        path = run.directory / "status.json"
        try:
            write_json(path, content)
        except WriteError as error:
            if error.errno not in DISK_FULL or not path.exists():
                raise
            overwrite_json(path, content)
