"""A pool of processes: a fresh one for each piece of work."""

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

from flowlab.system.process import EXIT_INTERRUPTED

# A piece of work; its argument sends its progress.
Piece = Callable[[Callable[[Any], None]], None]


def run_pool(pieces: Sequence[Piece], processes: int, receive: Callable[[int, Any], None]) -> None:
    """Do every piece of work; one that is killed stops no other.

    The processes are forked, so nothing is imported twice. They have one thread of torch each, and end when this one
    does, however it ends.

    Arguments:
        pieces: the pieces, in the order in which they begin.
        processes: at most this many at once; 1 does everything in this process.
        receive: receives the number of a piece and a message from it, or None when it has ended.

    An interruption or an error of the caller interrupts every process, and is then raised again.
    """
    if processes == 1:
        for number, piece in enumerate(pieces):
            piece(lambda message, number=number: receive(number, message))  # type: ignore[misc]
            receive(number, None)
        return
    context = multiprocessing.get_context("fork")
    waiting = list(enumerate(pieces))
    running: dict[Connection, tuple[int, ForkProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                number, piece = waiting.pop(0)
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(piece, theirs, [ours, *running]))
                process.start()
                theirs.close()
                running[ours] = number, process
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                number, process = running[connection]
                try:
                    receive(number, connection.recv())
                except (EOFError, ConnectionResetError):
                    process.join()
                    del running[connection]
                    connection.close()
                    receive(number, None)
    except BaseException:
        for _, process in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGINT)
        for _, process in running.values():
            process.join()
        raise


def _work(piece: Piece, connection: Connection, parent_ends: list[Connection]) -> None:
    os.setpgid(0, 0)  # Ctrl-C in a terminal reaches the parent alone, which passes it on once
    for other in parent_ends:
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

    def send(message: Any) -> None:
        try:
            connection.send(message)
        except BrokenPipeError:
            os._exit(1)  # the parent is gone, and `watch` has not noticed yet

    threading.Thread(target=watch, daemon=True).start()
    try:
        piece(send)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
