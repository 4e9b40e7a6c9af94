"""Displays of how much of some work is done: a bar in a terminal or a notebook, or lines."""

from __future__ import annotations

import html
import sys
import time
from typing import Any

from flowlab.system.process import is_in_notebook, print_line

LINES = 10  # over a whole run
UPDATE_SECONDS = 0.25  # the shortest time between two updates of the bar in a notebook
EMPTY = {"text/plain": ""}


def resolve_display(kind: str) -> str:
    """The display that a kind means here: bar, notebook, lines or off; auto is a bar in a terminal or a notebook."""
    if kind in ("auto", "bar") and is_in_notebook():
        return "notebook"
    return kind if kind != "auto" else "bar" if sys.stderr.isatty() else "lines"


class Display:
    """Shows nothing; its subclasses show how much of some work is done."""

    def start(self, done: int, total: int) -> None:
        self.total = total

    def update(self, done: int, text: str, is_complete: bool = True) -> None:
        """Show a text that begins with the fraction done / total; `is_complete`: it has all numbers of this moment."""

    def close(self) -> None:
        """End the display."""


class Lines(Display):
    """One line on stderr every tenth of the work."""

    def start(self, done: int, total: int) -> None:
        self.total, self.printed = total, done * LINES // total  # tenths

    def update(self, done: int, text: str, is_complete: bool = True) -> None:
        if is_complete and done * LINES // self.total > self.printed:
            self.printed = done * LINES // self.total
            print_line(text)


class Bar(Display):
    """A bar on stderr, followed by the latest text."""

    def start(self, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
        self.task = self.bar.add_task("", total=total, completed=done)
        self.bar.start()

    def update(self, done: int, text: str, is_complete: bool = True) -> None:
        self.bar.update(self.task, completed=done, description=text)

    def close(self) -> None:
        self.bar.stop()


class NotebookBar(Display):
    """A bar below the running cell; closing it leaves an empty output.

    The output is the same before and after, so a notebook can be compared with a fresh run, also by nbval.
    """

    def start(self, done: int, total: int) -> None:
        from IPython.display import display

        self.total, self.updated_at = total, 0.0
        self.handle = display(EMPTY, raw=True, display_id=True)

    def update(self, done: int, text: str, is_complete: bool = True) -> None:
        now = time.monotonic()
        if now - self.updated_at < UPDATE_SECONDS:
            return
        self.updated_at = now
        bar = f'<progress value="{done}" max="{self.total}" style="width: 16em"></progress>'
        content = f'<div style="font-family: monospace">{bar} {html.escape(text)}</div>'
        self.handle.update({"text/html": content, **EMPTY}, raw=True)

    def close(self) -> None:
        self.handle.update(EMPTY, raw=True)


def build_display(kind: str) -> Display:
    """The display of a kind: bar, lines, off or auto."""
    return {"bar": Bar, "notebook": NotebookBar, "lines": Lines, "off": Display}[resolve_display(kind)]()


class Progress:
    """Follows the steps of a training; a record has the last `row`, its `row_step`, and the `metrics`."""

    def start(self, step: int, max_steps: int) -> None:
        """Training begins after a step."""

    def update(self, step: int, record: Any) -> None:
        """Training has reached a step."""

    def close(self) -> None:
        """Training has ended."""


class RunProgress(Progress):
    """Shows the step and the latest numbers of a run on a display of a kind; see `build_display`."""

    def __init__(self, kind: str) -> None:
        self.display = build_display(kind)

    def start(self, step: int, max_steps: int) -> None:
        self.max_steps = max_steps
        self.display.start(step, max_steps)

    def update(self, step: int, record: Any) -> None:
        row, metrics = record.row, record.metrics
        parts = [f"loss {row['loss']:.3f}"] if "loss" in row else []
        parts += [f"{name} {metrics[name]:.3f}" for name in ("nll", "kl", "elbo") if name in metrics]
        parts += [f"{row['steps_per_second']:.0f} steps/s"] if row else []
        text = f"step {step:>{len(str(self.max_steps))}}/{self.max_steps}  {'  '.join(parts)}"
        self.display.update(step, text, is_complete=record.row_step == step)

    def close(self) -> None:
        self.display.close()
