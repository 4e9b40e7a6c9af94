"""This process: its signal handlers, threads and garbage collection, what it prints, and the code that it runs."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import flowlab
from flowlab.config.security import redact_command

EXIT_INTERRUPTED = 130  # exit status
PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "numpy", "scipy", "pandas", "matplotlib", "wandb")

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


def origin() -> dict[str, Any]:
    """The code, versions, machine and command of this process, as plain data, without secrets."""
    commit, dirty = _git()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "flowlab": flowlab.__version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "command": redact_command(sys.argv),
    }


@functools.cache  # the jobs of a sweep share it: this process runs the code that it has imported
def _git() -> tuple[str | None, bool | None]:
    """The commit of flowlab's source, and whether files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        _run_git(here, "ls-files", "--error-unmatch", Path(__file__).name)  # the repository must be flowlab's
        commit = _run_git(here, "rev-parse", "HEAD")
        return commit, bool(_run_git(here, "status", "--porcelain", "--", ":/flowlab", ":/conf", ":/experiments"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _run_git(directory: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *words], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
