"""Run `train.py logger=wandb` in a separate process and read the rows that it logged."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas
import wandb_records

ROOT = Path(__file__).parents[1]
SMALL = ("test_size=500", "validation_size=500", "batch_size=64", "flow.depth=2", "trainer.progress=off")
KEY, KEY_OF_NETRC = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"


def without_wandb(home, **more):
    """Return an environment without settings of Weights & Biases, in which its server cannot be reached."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    clean |= {"OMP_NUM_THREADS": "1", "NETRC": "/nonexistent", "HOME": str(home)}
    return clean | {"WANDB_BASE_URL": "http://127.0.0.1:9"} | more


def command(*words):
    alone = [sys.executable, str(ROOT / "experiments/train.py"), *words]
    return alone if words[0].startswith("resume=") else [*alone, "logger=wandb", *SMALL]


def shell(*words, cwd, **environment):
    """Run `train.py logger=wandb` to its end."""
    clean = without_wandb(cwd, **environment)
    return subprocess.run(command(*words), cwd=cwd, env=clean, capture_output=True, text=True, timeout=300)


def run_and_signal(signal_number, *words, cwd, until, **environment):
    """Run `train.py logger=wandb`, send a signal when `until` holds, and return the exit status."""
    clean = without_wandb(cwd, **environment)
    with subprocess.Popen(command(*words), cwd=cwd, env=clean, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not until():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal_number)
        process.communicate(timeout=60)
        return process.returncode


def logged_rows(run):
    """Return the rows of all sessions of a run, in order."""
    return wandb_records.table(
        [row for path in wandb_records.sessions(run.directory) for row in wandb_records.history(path)]
    )


def assert_same_table(rows, run):
    metrics = run.metrics
    assert set(rows) <= set(metrics), "a logged column is not in metrics.csv"
    rows = rows.reindex(columns=metrics.columns)
    pandas.testing.assert_frame_equal(rows, metrics, check_exact=True, check_dtype=False)
