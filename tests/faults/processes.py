"""Runs and sweeps as processes of their own, and whether two have come to the same end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import torch

TRAIN = Path(__file__).parent.parent.parent / "experiments/train.py"
SMALL = ("flow.depth=1", "batch_size=32", "test_size=200", "validation_size=200", "trainer.progress=off")
# Two seconds of training, with a checkpoint in every twentieth of them.
RUN = (*SMALL, "max_steps=1000", "trainer.checkpoint_every=50", "trainer.validate_every=100", "trainer.log_every=10")
SWEEP = ("-m", "hydra/launcher=stacked", "seed=0,1", *RUN, "flow.depth=1,2", "max_steps=300")
FILE = ("target=file", "target.path=points.csv")
TIMES = ["seconds", "steps_per_second"]


def start(*words, cwd, output=subprocess.PIPE, **environment):
    """The process of `python experiments/train.py WORDS`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, str(TRAIN), *words]
    files = {"stdout": output, "stderr": output, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=environment, preexec_fn=_in_the_foreground, **files)


def _in_the_foreground():
    """As from a terminal, whatever these tests were started from: below nohup a process is deaf to its end."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def ended(process):
    """What became of a process: its exit status and what it said on stderr."""
    error = process.communicate(timeout=180)[1]
    return process.returncode, error


def run(*words, cwd, **environment):
    return ended(start(*words, cwd=cwd, **environment))


def completed(*words, cwd, **environment):
    """See that a command comes to its end."""
    status, error = run(*words, cwd=cwd, **environment)
    assert status == 0, error


def refused(ending, status, *parts):
    """See that a command has ended with a status and one message, which holds these parts."""
    assert ending[0] == status, ending
    said = [line for line in ending[1].splitlines() if line.startswith("flowlab: ")]
    assert len(said) == 1, ending[1]
    assert "Traceback" not in ending[1]
    for part in parts:
        assert part in said[0], f"{part!r} is not in {said[0]!r}"


def wait_until(what, process, seconds=120):
    """Wait for something that a process will bring about."""
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def trains(process, directory):
    """Wait until a process has written a checkpoint of a run."""
    before = stamp(directory / "checkpoints/last.ckpt")
    wait_until(lambda: stamp(directory / "checkpoints/last.ckpt") != before, process)


def stamp(path):
    return path.stat().st_mtime_ns if path.exists() else None


def status(directory):
    return json.loads((directory / "status.json").read_text())["status"]


def same(first, second):
    """Whether two pieces of a checkpoint are the same, bit for bit."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def checkpoint(directory, name):
    content = torch.load(directory / f"checkpoints/{name}.ckpt", weights_only=True)
    return {key: content[key] for key in ("state_dict", "optimizer_states", "global_step", "callbacks")}


def same_end(directory, whole):
    """See that a run has come to the end of another: checkpoints, rows and result, but for times, and every file."""
    assert status(directory) == "done"
    for name in ("last", "best"):
        assert same(checkpoint(directory, name), checkpoint(whole, name)), f"{name}.ckpt differs"
    rows, expected = (pandas.read_csv(path / "metrics.csv").drop(columns=TIMES) for path in (directory, whole))
    pandas.testing.assert_frame_equal(rows, expected, check_exact=True)
    result, expected = (json.loads((path / "result.json").read_text()) for path in (directory, whole))
    assert all(result[key] == expected[key] for key in expected if key not in TIMES)
    assert files(directory) == files(whole), "a file is missing or left over"


def files(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
