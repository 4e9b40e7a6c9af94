"""Runs on several processes: settings of a small one, its processes and its weights."""

import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent.parent
# Rank 0 has 251 of the held-out points, rank 1 has 250.
SMALL = ("test_size=500", "validation_size=501", "batch_size=64", "flow.depth=3", "dtype=float64")
SMALL = (*SMALL, "trainer.progress=off", "trainer.checkpoint_every=50")


def weights(run):
    return run.load_flow("last").state_dict()


def ranks_of(directory):
    """Return the worker processes of a run; their command line identifies them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "flowlab.distributed.worker" in words and str(directory) in words:
            found.append(process)
    return found


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
