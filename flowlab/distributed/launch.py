"""Start one fresh process for each device of a run.

`torch.distributed.elastic` is not used. Its store listens on all network interfaces, and it replaces the signal
handlers of this process for good. Its workers outlive a killed parent, and it gives the other workers 30 seconds when
one fails.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import torch.distributed as dist

from flowlab.config.schema import TrainerConfig
from flowlab.distributed.world import LostRankError
from flowlab.system.display import build_display
from flowlab.system.process import EXIT_INTERRUPTED, is_in_notebook, print_line

# Variables that a launcher around this process may have set for ranks of its own.
LAUNCHER_VARIABLE = re.compile(r"((LOCAL|GROUP|ROLE|NODE)_)?(RANK|WORLD_SIZE)$|MASTER_(ADDR|PORT)$|TORCHELASTIC_|PL_")

STOP_TIMEOUT = 60.0  # seconds for the ranks to save and end after a signal
FAILURE_TIMEOUT = 3.0  # seconds for the other ranks to end after one has failed
POLL = 0.05  # seconds

# Lines of a rank's progress; see RunProgress.
STEP = re.compile(r"(step +(\d+)/(\d+).*)")
OF_PROGRESS = re.compile(r"step +\d+/\d+|^the step is (not )?compiled")


def train_on_ranks(directory: Path, trainer: TrainerConfig) -> None:
    """Train a run on `trainer.devices` fresh processes with a clean environment, and wait for their end.

    If one rank fails, the others are ended. All ranks end with this process, however it ends: they read from pipes that
    the system closes then. Ctrl-C in a terminal reaches this process alone, which passes it on; a second one kills the
    ranks.

    Raises:
        KeyboardInterrupt: a signal stopped this process or one of the ranks.
        RuntimeError: a rank was killed.
        Exception: a rank failed; the error keeps its type and message, and a note gives its rank and traceback.
    """
    store = open_loopback_store()  # the ranks need it until they end
    environment = {name: value for name, value in os.environ.items() if not LAUNCHER_VARIABLE.match(name)}
    environment |= {"MASTER_ADDR": store.host, "MASTER_PORT": str(store.port)}
    environment |= {"TORCHELASTIC_USE_AGENT_STORE": "True"}  # torch: no rank opens the store
    environment |= {"OMP_NUM_THREADS": str(trainer.threads)} if trainer.threads else {}
    ranks: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as errors, _stderr_of_ranks(trainer.progress) as (stderr, show):
        command = [sys.executable, "-m", "flowlab.distributed.worker", str(directory.resolve()), errors]
        try:
            for rank in range(trainer.devices):
                variables = environment | {"LOCAL_RANK": str(rank)}
                ranks.append(
                    subprocess.Popen(
                        command, env=variables, stdin=subprocess.PIPE, stderr=stderr, start_new_session=True
                    )
                )
            _wait(ranks, math.inf, until_failure=True, show=show)
            _wait(ranks, FAILURE_TIMEOUT)
            codes = {number: rank.returncode for number, rank in enumerate(ranks) if rank.poll()}
        except KeyboardInterrupt:
            for process in ranks:
                process.terminate()
            _wait(ranks, STOP_TIMEOUT)
            raise
        finally:
            for process in ranks:
                process.kill()  # has no effect on a process that has ended
            for process in ranks:
                process.communicate()
        if EXIT_INTERRUPTED in codes.values():
            raise KeyboardInterrupt
        if codes:
            raise find_cause(Path(errors), codes, trainer.devices)


@contextlib.contextmanager
def _stderr_of_ranks(progress: str) -> Iterator[tuple[IO[bytes] | None, Callable[[], None]]]:
    """A stderr for the ranks, and a function that shows their progress; None shares this process's stderr.

    In a notebook their progress belongs into the cell's bar: a notebook with lines on stderr could not be compared with
    a fresh run. Other lines follow at the end.
    """
    if not is_in_notebook():
        yield None, lambda: None
        return
    display = build_display(progress)
    with tempfile.NamedTemporaryFile() as written:

        def show() -> None:
            if found := STEP.findall(Path(written.name).read_bytes().decode(errors="replace")):
                text, step, display.total = found[-1][0], int(found[-1][1]), int(found[-1][2])
                display.update(step, text)

        display.start(0, 1)
        try:
            yield written, show
        finally:
            display.close()
            for line in Path(written.name).read_text(errors="replace").splitlines():
                if not OF_PROGRESS.search(line):
                    print_line(line)


def _wait(
    ranks: list[subprocess.Popen[bytes]],
    seconds: float,
    until_failure: bool = False,
    show: Callable[[], None] = lambda: None,
) -> None:
    """Wait until all ranks have ended, the time is over, or one has failed; `show` is called meanwhile."""
    deadline = time.monotonic() + seconds
    while None in (codes := [rank.poll() for rank in ranks]) and time.monotonic() < deadline:
        if until_failure and any(codes):
            return
        show()
        time.sleep(POLL)


def find_cause(directory: Path, codes: dict[int, int], size: int) -> Exception:
    """Return the error that made the ranks fail: a killed rank, or an error that a rank left as RANK.pickle."""
    for rank, code in codes.items():
        if not (directory / f"{rank}.pickle").exists():
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
            return RuntimeError(f"rank {rank} of {size} was ended from outside, {how}")
    errors = [pickle.loads((directory / f"{rank}.pickle").read_bytes()) for rank in sorted(codes)]
    return min(errors, key=lambda error: isinstance(error, LostRankError))


def open_loopback_store() -> dist.TCPStore:
    """Open the store where the ranks meet; it listens on the loopback interface alone.

    This process keeps it. If rank 0 opened a port that this process chose, a different program could take it first.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()
    return dist.TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())
