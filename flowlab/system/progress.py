"""Show the progress of a run: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from flowlab.system.display import NotebookBar, is_in_notebook, print_line

LINES = 10  # over a whole run


class Progress(Protocol):
    """Shows or reports the progress of training; a record has the last `row`, its `row_step`, and the `metrics`."""

    def start(self, step: int, max_steps: int) -> None: ...
    def update(self, step: int, record: Any) -> None: ...
    def close(self) -> None: ...


def build_progress(kind: str) -> Progress | None:
    """The display of a kind: bar, lines, off, or auto, a bar in a terminal or notebook, else lines."""
    kind = resolve_display(kind)
    displays: dict[str, type[Progress]] = {"bar": Bar, "notebook": BarInNotebook, "lines": Lines}
    return displays[kind]() if kind != "off" else None


def resolve_display(kind: str) -> str:
    """The display that a kind means here: bar, notebook, lines or off."""
    if kind in ("auto", "bar") and is_in_notebook():
        return "notebook"
    return kind if kind != "auto" else "bar" if sys.stderr.isatty() else "lines"


class Lines:
    """One line on stderr every tenth of the run."""

    def start(self, step: int, max_steps: int) -> None:
        self.max_steps, self.printed = max_steps, step * LINES // max_steps  # tenths

    def update(self, step: int, record: Any) -> None:
        if record.row_step == step and step * LINES // self.max_steps > self.printed:
            self.printed = step * LINES // self.max_steps
            print_line(f"step {step:>{len(str(self.max_steps))}}/{self.max_steps}  {_numbers(record)}")

    def close(self) -> None:
        """There is nothing to close."""


class Bar:
    """A bar on stderr with the latest numbers."""

    def start(self, step: int, max_steps: int) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"), TimeRemainingColumn())
        self.bar = RichProgress(*columns, console=Console(stderr=True), refresh_per_second=4)
        self.task = self.bar.add_task("", total=max_steps, completed=step, numbers="")
        self.bar.start()

    def update(self, step: int, record: Any) -> None:
        self.bar.update(self.task, completed=step, numbers=_numbers(record))

    def close(self) -> None:
        self.bar.stop()


class BarInNotebook:
    """A bar below the cell with the latest numbers; it disappears when training ends."""

    def start(self, step: int, max_steps: int) -> None:
        self.bar, self.max_steps = NotebookBar(), max_steps

    def update(self, step: int, record: Any) -> None:
        self.bar.update(step, self.max_steps, f"{step}/{self.max_steps}  {_numbers(record)}")

    def close(self) -> None:
        self.bar.close()


def _numbers(record: Any) -> str:
    row = record.row
    parts = [f"loss {row['loss']:.3f}"] if "loss" in row else []
    parts += [f"{name} {record.metrics[name]:.3f}" for name in ("nll", "kl") if name in record.metrics]
    parts += [f"{row['steps_per_second']:.0f} steps/s"] if row else []
    return "  ".join(parts)
