"""Signals, for as long as something is going on."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

INTERRUPTED = 130  # exit status

Handler = Callable[[int, Any], Any] | int


class Preempted(KeyboardInterrupt):
    """A scheduler has said that it will take the machine away; the run goes on when it is started again."""


def preempt(number: int, frame: Any) -> None:
    """The handler that raises it."""
    raise Preempted


# SIGTERM, and a terminal that is gone, end as Ctrl-C does, so that a directory says what became of its run.
TERMINABLE: dict[int, Handler] = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.default_int_handler)


@contextlib.contextmanager
def handled(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Signals handled so inside the block, and after it as before; only the main thread has any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = {number: handler for number, handler in handlers.items() if not (number == signal.SIGHUP and _nohup())}
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _nohup() -> bool:
    """Whether this process was started to outlive its terminal."""
    return signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
