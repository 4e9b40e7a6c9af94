"""Lines in a terminal, and a progress bar in a notebook."""

from __future__ import annotations

import html
import os
import sys
import time
from typing import TextIO

UPDATE_SECONDS = 0.25  # the shortest time between two updates of the bar
EMPTY = {"text/plain": ""}


def print_line(line: str, stream: TextIO | None = None) -> None:
    """Print a line, on stderr by default; a closed terminal or a full disk never stops a run.

    The line is a single write. `print` makes two under PYTHONUNBUFFERED, which mix with the lines of other processes.
    """
    stream = stream or sys.stderr
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # the stream's buffer would fail again at exit
        os.close(null)


def is_in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


class NotebookBar:
    """A progress bar below the running cell; closing it leaves an empty output.

    The output is the same before and after, so a notebook can be compared with a fresh run, also by nbval.
    """

    def __init__(self) -> None:
        from IPython.display import display

        self._handle = display(EMPTY, raw=True, display_id=True)
        self._updated_at = 0.0

    def update(self, done: float, total: float, text: str) -> None:
        """Draw the fraction done / total, followed by a text."""
        now = time.monotonic()
        if now - self._updated_at < UPDATE_SECONDS:
            return
        self._updated_at = now
        bar = f'<progress value="{done:.0f}" max="{total:.0f}" style="width: 16em"></progress>'
        content = f'<div style="font-family: monospace">{bar} {html.escape(text)}</div>'
        self._handle.update({"text/html": content, **EMPTY}, raw=True)

    def close(self) -> None:
        """Remove the bar."""
        self._handle.update(EMPTY, raw=True)
