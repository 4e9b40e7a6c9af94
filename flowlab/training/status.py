"""status.json: what has become of a run, true at every moment."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from flowlab.files import write_json
from flowlab.training.directory import Run


@contextlib.contextmanager
def told(*runs: Run, to_the_end: bool = True) -> Iterator[None]:
    """Say of runs that they are running, then how it ended; an error is written down and goes on to the caller.

    Arguments:
        runs: one, or those of a stack.
        to_the_end: the runs are done when the block is; otherwise something is still to come.

    Raises:
        KeyboardInterrupt: the run was interrupted; also where Lightning has made an exit of it.
    """
    _write(runs, status="running")
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        for run in runs:
            _write([run], status="interrupted", error=f"interrupted; go on with resume={run.directory}")
        raise KeyboardInterrupt from None
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        _write(runs, status="failed", error=message, traceback=traceback.format_exc())
        raise
    if to_the_end:
        _write(runs, status="done")


def _write(runs: list[Run] | tuple[Run, ...], **content: str) -> None:
    for run in runs:
        write_json(run.directory / "status.json", content)
