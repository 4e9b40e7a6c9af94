"""Sweeps on a Slurm of one node, which runs for these tests alone."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from flowlab import load_sweep

START = Path(__file__).parent / "start_slurm.sh"


@pytest.fixture(scope="module")
def slurm():
    """The configuration of a running Slurm."""
    with tempfile.TemporaryDirectory(prefix="slurm") as directory:
        os.chmod(directory, 0o755)
        process = subprocess.Popen([START, directory], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            yield f"{directory}/slurm.conf"
        finally:
            process.terminate()
            process.wait(timeout=60)


def test_the_same_numbers(same_as_locally, slurm, tmp_path):
    same_as_locally("sweep", "hydra/launcher=slurm", SLURM_CONF=slurm)
    assert len(load_sweep(tmp_path / "sweep")) == 4
    scripts = list((tmp_path / "sweep/.submitit").glob("*/*_submission.sh"))
    assert scripts, "Slurm was given a script"
    assert "--cpus-per-task=1" in scripts[0].read_text()


def test_one_job_fails(one_fails, slurm):
    one_fails("hydra/launcher=slurm", SLURM_CONF=slurm)


def test_a_partition_that_is_not_there(sweep, slurm):
    done = sweep("sweep", "hydra/launcher=slurm", "hydra.launcher.partition=nowhere", "seed=0,1", SLURM_CONF=slurm)
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    assert "Traceback" not in done.stderr
