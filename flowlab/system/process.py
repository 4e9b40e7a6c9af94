"""Settings of this process that a block changes and restores: signal handlers, threads, garbage collection."""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

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
