"""This process: its signal handlers, threads and garbage collection, and what it prints."""

from __future__ import annotations

import contextlib
import gc
import html
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

EXIT_INTERRUPTED = 130  # exit status

Handler = Callable[[int, Any], Any] | int


class Preempted(KeyboardInterrupt):
    """A scheduler takes the machine away; the run continues when the job starts again."""


def raise_preempted(number: int, frame: Any) -> None:
    """Raise Preempted; a signal handler."""
    raise Preempted


# SIGTERM and a lost terminal act as Ctrl-C does, so the run directory records the end of its run.
STOP_HANDLERS: dict[int, Handler] = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.default_int_handler)


@contextlib.contextmanager
def handle_signals(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Set signal handlers inside the block and restore the previous ones after it.

    Only the main thread can set handlers; in other threads the block runs unchanged. Below nohup, SIGHUP stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignores_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if not (number == signal.SIGHUP and ignores_hangup)
    }
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, signal.SIG_DFL if previous is None else previous)


@contextlib.contextmanager
def set_threads(count: int | None) -> Iterator[None]:
    """Set the number of torch's threads inside the block; None keeps it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector while modules are imported: it takes a third of their time and finds little."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


LINES = 10  # over a whole run
UPDATE_SECONDS = 0.25  # the shortest time between two updates of the bar in a notebook
EMPTY = {"text/plain": ""}


def print_line(line: str, stream: TextIO | None = None) -> None:
    """Print a line, on stderr by default; a closed terminal or a full disk never stops a run.

    The line is a single write. `print` makes two under PYTHONUNBUFFERED, which mix with the lines of other processes.
    """
    stream = stream or sys.stderr
    output = Output(stream)
    output.write(f"{line}\n")
    output.flush()


_printed: set[tuple[str, str]] = set()


def print_once(line: str, scope: str | None) -> None:
    """Print a line on stderr unless this process has printed it in the scope, such as a sweep; None always prints."""
    if scope is None or (scope, line) not in _printed:
        print_line(line)
    if scope is not None:
        _printed.add((scope, line))


class Output:
    """A text stream that drops what can no longer be written, because a pipe is closed or a disk is full.

    Arguments:
        stream: the stream.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._drop():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._drop():
            self._stream.flush()

    @contextlib.contextmanager
    def _drop(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())  # the stream's buffer would fail again at exit
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def protect_output() -> Iterator[None]:
    """Keep a closed pipe, and a terminal that lacks a character, from ending what the block does."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with open(os.devnull, "w", encoding="utf-8") as null:
        # Python has None for a stream that was closed when it started.
        sys.stdout, sys.stderr = (Output(null if stream is None else stream) for stream in before)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def is_in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


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


def build_progress(kind: str) -> Progress | None:
    """The progress of a run as a kind shows it; None for off."""
    return RunProgress(kind) if kind != "off" else None
