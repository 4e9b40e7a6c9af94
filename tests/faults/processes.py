"""Start training processes, wait for them, and compare their results."""

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
# Two seconds of training with 20 checkpoints.
RUN = (*SMALL, "max_steps=1000", "trainer.checkpoint_every=50", "trainer.validate_every=100", "trainer.log_every=10")
SWEEP = ("-m", "hydra/launcher=stacked", "seed=0,1", *RUN, "flow.depth=1,2", "max_steps=300")
FILE = ("target=file", "target.path=points.csv")
TIMES = ["seconds", "steps_per_second"]


def start(*words, cwd, output=subprocess.PIPE, **environment):
    """Start `python experiments/train.py WORDS`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, str(TRAIN), *words]
    files = {"stdout": output, "stderr": output, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=environment, preexec_fn=_restore_sighup, **files)


def _restore_sighup():
    """Handle SIGHUP as a process in a terminal does: under nohup the process would ignore it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for_end(process):
    """Wait until a process ends and return its exit status and stderr."""
    error = process.communicate(timeout=180)[1]
    return process.returncode, error


def run(*words, cwd, **environment):
    return wait_for_end(start(*words, cwd=cwd, **environment))


def check_completes(*words, cwd, **environment):
    """Run a command and check that it succeeds."""
    status, error = run(*words, cwd=cwd, **environment)
    assert status == 0, error


def check_refused(ending, status, *parts):
    """Check the exit status of a command, and that it printed one message with these parts."""
    assert ending[0] == status, ending
    said = [line for line in ending[1].splitlines() if line.startswith("flowlab: ")]
    assert len(said) == 1, ending[1]
    assert "Traceback" not in ending[1]
    for part in parts:
        assert part in said[0], f"{part!r} is not in {said[0]!r}"


def wait_until(condition, process, seconds=120):
    """Wait until a condition holds while a process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for_checkpoint(process, directory):
    """Wait until a process writes the next checkpoint of a run."""
    before = modification_time(directory / "checkpoints/last.ckpt")
    wait_until(lambda: modification_time(directory / "checkpoints/last.ckpt") != before, process)


def modification_time(path):
    return path.stat().st_mtime_ns if path.exists() else None


def status(directory):
    return json.loads((directory / "status.json").read_text())["status"]


def is_same(first, second):
    """Whether two parts of a checkpoint are equal bit for bit."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(is_same, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def load_checkpoint(directory, name):
    content = torch.load(directory / f"checkpoints/{name}.ckpt", weights_only=True)
    return {key: content[key] for key in ("state_dict", "optimizer_states", "global_step", "callbacks")}


def check_same_end(directory, reference):
    """Check that two runs have equal checkpoints, rows and results, except times, and the same files."""
    assert status(directory) == "done"
    for name in ("last", "best"):
        assert is_same(load_checkpoint(directory, name), load_checkpoint(reference, name)), f"{name}.ckpt differs"
    rows, expected = (pandas.read_csv(path / "metrics.csv").drop(columns=TIMES) for path in (directory, reference))
    pandas.testing.assert_frame_equal(rows, expected, check_exact=True)
    result, expected = (json.loads((path / "result.json").read_text()) for path in (directory, reference))
    assert all(result[key] == expected[key] for key in expected if key not in TIMES)
    assert list_files(directory) == list_files(reference), "a file is missing or superfluous"


def list_files(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def read_files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
