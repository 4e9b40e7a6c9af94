"""Pieces of work shared out to a few processes, a fresh one for each piece."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any

import torch

from flowlab.system.signals import EXIT_INTERRUPTED

# A piece of work; it may send how far it is.
Piece = Callable[[Callable[[Any], None]], None]


def share_out(pieces: Sequence[Piece], processes: int, hear: Callable[[int, Any], None]) -> list[int]:
    """Carry out every piece, so many at a time; gives the exit code of each, negative where a signal ended it.

    The processes are forked, so that nothing is imported twice, have one thread of torch each, and end when this one
    does, however that ends.

    Arguments:
        pieces: in the order in which they are begun.
        processes: at most so many at once; 1 carries out everything in this process.
        hear: takes the number of a piece and what it sends; or None, when it has ended.

    Raises:
        KeyboardInterrupt: passed on to every process, and then to the caller; so are other errors, as an interruption.
    """
    if processes == 1:
        for number, piece in enumerate(pieces):
            piece(lambda message, number=number: hear(number, message))  # type: ignore[misc]
            hear(number, None)
        return [0] * len(pieces)
    context = multiprocessing.get_context("fork")
    codes = [0] * len(pieces)
    waiting = list(enumerate(pieces))
    running: dict[Connection, tuple[int, ForkProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                number, piece = waiting.pop(0)
                ours, theirs = context.Pipe()
                process = context.Process(target=_carry_out, args=(piece, theirs, [ours, *running]))
                process.start()
                theirs.close()
                running[ours] = number, process
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                number, process = running[connection]
                try:
                    hear(number, connection.recv())
                except (EOFError, ConnectionResetError):
                    process.join()
                    codes[number] = process.exitcode or 0
                    del running[connection]
                    connection.close()
                    hear(number, None)
    except BaseException:
        for _, process in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGINT)
        for _, process in running.values():
            process.join()
        raise
    return codes


def _carry_out(piece: Piece, connection: Connection, of_the_parent: list[Connection]) -> None:
    os.setpgid(0, 0)  # Ctrl-C in a terminal reaches the parent alone, which passes it on once
    for other in of_the_parent:
        other.close()
    gc.freeze()  # what the parent has imported will not become garbage here
    torch.set_num_threads(1)  # with more, OpenMP waits for ever where the parent has used it before the fork

    def watch() -> None:
        with contextlib.suppress(OSError):
            while True:
                try:
                    connection.recv()
                except EOFError:
                    os._exit(1)  # the parent is gone

    threading.Thread(target=watch, daemon=True).start()
    try:
        piece(connection.send)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
