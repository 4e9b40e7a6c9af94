"""Sweeps through the real command line on real engines; `make test-engines` installs the engines and runs them."""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
import torch

from flowlab import load_run

TRAIN = Path(__file__).parents[2] / "experiments/train.py"
QUICK = ("max_steps=40", "test_size=500", "validation_size=500", "batch_size=32", "trainer.progress=off")


@pytest.fixture
def sweep(tmp_path):
    """Run `python experiments/train.py -m ...` to its end and check that it leaves no process behind."""

    def start(directory, *words, **environment):
        mark = uuid.uuid4().hex
        command = [sys.executable, str(TRAIN), "-m", f"hydra.sweep.dir={directory}"]
        given = os.environ | {"OMP_NUM_THREADS": "1", "FLOWLAB_TEST": mark} | environment
        done = subprocess.run(
            [*command, *QUICK, *words], cwd=tmp_path, env=given, capture_output=True, text=True, timeout=900
        )
        patience = time.monotonic() + 30
        while left := _processes_with_mark(mark):
            assert time.monotonic() < patience, f"left behind: {left}"
            time.sleep(0.2)
        return done

    return start


@pytest.fixture
def check_equals_local_sweep(sweep, tmp_path):
    """Train a sweep of four jobs locally and on an engine, and check that the results are equal."""
    words = ("seed=0,1", "flow.depth=1,2")

    def check(directory, *engine, **environment):
        done = sweep("local", *words)
        assert done.returncode == 0, done.stderr
        done = sweep(directory, *words, *engine, **environment)
        assert done.returncode == 0, done.stderr
        assert _jobs(tmp_path / directory) == ["0", "1", "2", "3"]
        for job in _jobs(tmp_path / directory):
            here, there = load_run(tmp_path / "local" / job), load_run(tmp_path / directory / job)
            assert there.status["status"] == "done"
            assert there.config == here.config
            assert _results_without_times(there) == _results_without_times(here)
            assert set(there.provenance["command"]) > {str(TRAIN), "-m", *words, *engine}
            weights, expected = (run.load_flow("last").state_dict() for run in (there, here))
            assert list(weights) == list(expected)
            assert all(torch.equal(weights[name], expected[name]) for name in weights), f"job {job}: other weights"
        return done

    return check


@pytest.fixture
def check_one_failed_job(sweep, tmp_path):
    """Start three jobs on an engine and check that only the second, which diverges, fails."""

    def check(*engine, **environment):
        words = ("optimizer.lr=0.01,1e60,0.02", "optimizer.schedule=constant", "dtype=float64")
        done = sweep("failing", *words, *engine, **environment)
        assert done.returncode == 1, done.stderr
        assert re.search(r"^ *1 +failed +DivergedError: the loss is not finite", done.stdout, re.MULTILINE), done.stdout
        assert "3 runs: 2 done, 1 failed" in done.stdout
        assert "Traceback" not in done.stderr
        states = [json.loads((tmp_path / "failing" / job / "status.json").read_text()) for job in "012"]
        assert [state["status"] for state in states] == ["done", "failed", "done"]
        assert "DivergedError" in states[1]["error"]
        assert "Traceback" in states[1]["traceback"]

    return check


def _jobs(directory):
    return sorted(path.name for path in directory.iterdir() if path.name.isdigit())


def _results_without_times(run):
    return {name: value for name, value in run.result.items() if "second" not in name}


def _processes_with_mark(mark):
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FLOWLAB_TEST") == mark:
                found.append(process.name())
        except psutil.Error:  # the process has just ended, or is a zombie
            continue
    return found
