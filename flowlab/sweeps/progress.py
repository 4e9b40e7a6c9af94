"""Show the progress of a sweep: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from flowlab.system.display import NotebookBar, print_line
from flowlab.system.progress import LINES, resolve_display

# Receives the number of a piece of work and the steps that it has taken, or None when it has ended.
Receive = Callable[[int, int | None], None]


@contextmanager
def show_sweep_progress(kind: str, jobs: Sequence[int], steps: Sequence[int]) -> Iterator[Receive]:
    """Show the progress of a sweep's pieces of work.

    Arguments:
        kind: bar, lines, off or auto, as for a run.
        jobs: the number of jobs in each piece.
        steps: the last step of each piece's jobs.
    """
    total = sum(count * last for count, last in zip(jobs, steps, strict=True))
    taken, ended = [0] * len(jobs), [False] * len(jobs)
    kind = resolve_display(kind)
    bar = Progress(
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[runs]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        refresh_per_second=4,
        disable=kind != "bar",
    )
    printed = 0

    def receive(piece: int, step: int | None) -> None:
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
        yield receive
