"""A run on several processes: one for each device, started fresh, whatever this process is or has around it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch.distributed as dist

from flowlab.distributed.world import LostRankError
from flowlab.runs.directory import Run
from flowlab.system.files import WriteError, read_json
from flowlab.system.signals import INTERRUPTED
from flowlab.training.divergence import DivergedError

# What another launcher, or an earlier job of this process, says of ranks of its own.
OF_A_LAUNCHER = re.compile(r"^((LOCAL|GROUP|ROLE|NODE)_)?(RANK|WORLD_SIZE)$|^MASTER_(ADDR|PORT)$|^TORCHELASTIC_|^PL_")

PATIENCE = 60.0  # seconds for the ranks to end when they are asked to
LAST_WORDS = 3.0  # seconds for the others to say what they failed of, when one has
POLL = 0.05  # seconds


def train_on_ranks(run: Run) -> None:
    """Train a run on `trainer.devices` fresh processes with a clean environment, and wait for their end.

    If one of them fails, the others are ended. They end with this process, however that ends.

    Raises:
        DivergedError, WriteError: as in a run of one process.
        RuntimeError: a rank failed; the message is that of its error.
        KeyboardInterrupt: passed on to all of them; or one of them was asked to stop.
    """
    trainer = run.config.trainer
    environment = {name: value for name, value in os.environ.items() if not OF_A_LAUNCHER.match(name)}
    store = local_store()  # for as long as they run
    environment |= {"MASTER_ADDR": store.host, "MASTER_PORT": str(store.port), "NODE_RANK": "0"}
    environment |= {"TORCHELASTIC_USE_AGENT_STORE": str(True)}  # torch's word for a store that no rank keeps
    environment |= {"OMP_NUM_THREADS": str(trainer.threads)} if trainer.threads else {}
    with tempfile.TemporaryDirectory() as errors:
        command = [sys.executable, "-m", "flowlab.distributed.worker", str(run.directory.resolve()), errors]
        with _started(command, [environment | {"LOCAL_RANK": str(rank)} for rank in range(trainer.devices)]) as ranks:
            while all(rank.poll() in (None, 0) for rank in ranks) and _some_run(ranks):
                time.sleep(POLL)
            _wait(ranks, LAST_WORDS)
            failed = {place: rank.returncode for place, rank in enumerate(ranks) if rank.poll()}
        if INTERRUPTED in failed.values():
            raise KeyboardInterrupt
        if failed:
            raise _cause(Path(errors), failed, trainer.devices)


def _some_run(ranks: list[subprocess.Popen[bytes]]) -> bool:
    return any(rank.poll() is None for rank in ranks)


def _cause(errors: Path, failed: dict[int, int], ranks: int) -> Exception:
    """The error of the rank that failed first: the others have soon lost it."""
    said = {int(path.stem): read_json(path) for path in errors.glob("*.json")}
    for rank, code in failed.items():
        if rank not in said:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
            return RuntimeError(f"rank {rank} of {ranks} was ended from outside, {how}")
    rank = min(said, key=lambda rank: (said[rank]["type"] == LostRankError.__name__, rank))
    content = said[rank]
    error: Exception
    if "system" in content:
        error = WriteError(*content["system"])
    else:
        error = (DivergedError if content["type"] == DivergedError.__name__ else RuntimeError)(content["message"])
    error.add_note(f"In rank {rank}:\n{content['traceback']}")
    return error


@contextlib.contextmanager
def _started(command: list[str], environments: list[dict[str, str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Ranks, which have ended when the block has.

    They read from pipes, which are closed when this process is gone. Ctrl-C in a terminal reaches this process alone,
    which asks them to stop; a second one ends them at once.
    """
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for environment in environments:
            ranks.append(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True))
        yield ranks
    except KeyboardInterrupt:
        for rank in ranks:
            rank.terminate()
        _wait(ranks, PATIENCE)
        raise
    finally:
        for rank in ranks:
            rank.kill()  # to no effect where it has ended
        for rank in ranks:
            rank.communicate()


def _wait(ranks: list[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _some_run(ranks) and time.monotonic() < deadline:
        time.sleep(POLL)


def local_store() -> dist.TCPStore:
    """Where the ranks meet, which nobody on the network can reach.

    This process keeps it: a port that it only chose for the first rank to open might be another's by then.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()
    return dist.TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())
