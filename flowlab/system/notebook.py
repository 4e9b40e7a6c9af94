"""In a notebook: whether we are in one, and a progress bar that leaves no trace in it."""

from __future__ import annotations

import html
import sys
import time

UPDATE_SECONDS = 0.25  # at least, between two drawings
EMPTY = {"text/plain": ""}


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


class NotebookBar:
    """A progress bar below the cell that runs; when it is closed, the output that it was is empty.

    It begins and ends as the same output, so that a notebook can be compared with a fresh run, by nbval too.
    """

    def __init__(self) -> None:
        from IPython.display import display

        self._handle = display(EMPTY, raw=True, display_id=True)
        self._drawn = 0.0

    def update(self, done: float, total: float, text: str) -> None:
        """Draw how much of the total is done, with some words after it."""
        now = time.monotonic()
        if now - self._drawn < UPDATE_SECONDS:
            return
        self._drawn = now
        bar = f'<progress value="{done:.0f}" max="{total:.0f}" style="width: 16em"></progress>'
        drawn = f'<div style="font-family: monospace">{bar} {html.escape(text)}</div>'
        self._handle.update({"text/html": drawn, **EMPTY}, raw=True)

    def close(self) -> None:
        """Take the bar away."""
        self._handle.update(EMPTY, raw=True)
