"""How far a sweep is: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from flowlab.system.display import NotebookBar, print_line
from flowlab.training.progress import LINES, shown_as

# Takes the number of a piece of work and the steps that it has taken, or None when it has ended.
Hear = Callable[[int, int | None], None]


class Reporter(pl.Callback):
    """Sends the step that training has come to."""

    def __init__(self, send: Callable[[int], None]) -> None:
        self.send = send

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.send(trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.send(trainer.global_step)


@contextmanager
def sweep_progress(kind: str, jobs: Sequence[int], steps: Sequence[int]) -> Iterator[Hear]:
    """Show how far the pieces of a sweep are.

    Arguments:
        kind: bar, lines, off or auto, as for a run.
        jobs: in each piece.
        steps: that each of its jobs has to come to.
    """
    total = sum(count * last for count, last in zip(jobs, steps, strict=True))
    taken, ended = [0] * len(jobs), [False] * len(jobs)
    kind = shown_as(kind)
    bar = Progress(
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[runs]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        refresh_per_second=4,
        disable=kind != "bar",
    )
    printed = 0

    def hear(piece: int, step: int | None) -> None:
        nonlocal printed
        taken[piece] = steps[piece] if step is None else step
        ended[piece] = step is None
        done = sum(count * step for count, step in zip(jobs, taken, strict=True))
        runs = sum(count for count, over in zip(jobs, ended, strict=True) if over)
        words = f"{runs} of {sum(jobs)} runs ended"
        bar.update(task, completed=done, runs=words)
        if below_cell:
            below_cell.update(done, total, words)
        if kind == "lines" and done * LINES // total > printed:
            printed = done * LINES // total
            print_line(f"{100 * done // total:>3}% of the steps, {words}")

    with bar, closing(NotebookBar()) if kind == "notebook" else nullcontext() as below_cell:
        task = bar.add_task("", total=total, runs="")
        yield hear
