"""Sweeps and runs of several tasks on a one-node Slurm that these tests start."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import torch

from flowlab import compose, load_run, load_sweep, train

START = Path(__file__).parent / "start_slurm.sh"
BATCH = Path(__file__).parents[2] / "experiments/train.sbatch"
ONE_RUN = ("dtype=float64", "test_size=500", "validation_size=501", "trainer.progress=off", "trainer.threads=1")


@pytest.fixture(scope="module")
def slurm():
    """The path of the configuration of a running Slurm."""
    with tempfile.TemporaryDirectory(prefix="slurm") as directory:
        os.chmod(directory, 0o755)
        process = subprocess.Popen([START, directory], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            yield f"{directory}/slurm.conf"
        finally:
            process.terminate()
            process.wait(timeout=60)


def test_slurm_sweep_equals_local_sweep(check_equals_local_sweep, slurm, tmp_path):
    check_equals_local_sweep("sweep", "hydra/launcher=slurm", SLURM_CONF=slurm)
    assert len(load_sweep(tmp_path / "sweep")) == 4
    scripts = list((tmp_path / "sweep/.submitit").glob("*/*_submission.sh"))
    assert scripts, "submitit wrote a job script"
    assert "--cpus-per-task=1" in scripts[0].read_text()


def test_failed_job_on_slurm_does_not_stop_others(check_one_failed_job, slurm):
    check_one_failed_job("hydra/launcher=slurm", SLURM_CONF=slurm)


def test_unknown_partition_is_reported(sweep, slurm):
    done = sweep("sweep", "hydra/launcher=slurm", "hydra.launcher.partition=nowhere", "seed=0,1", SLURM_CONF=slurm)
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def submit(slurm, tmp_path):
    """Submit a run of two tasks to Slurm with experiments/train.sbatch."""
    environment = os.environ | {"SLURM_CONF": slurm, "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def run(*command):
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    def submit_run(*words):
        number = run("sbatch", "--parsable", "--ntasks-per-node=2", BATCH, "trainer.accelerator=cpu", *ONE_RUN, *words)
        return number.strip(), tmp_path / f"runs/slurm_{number.strip()}_banana_seed0"

    submit_run.run = run
    return submit_run


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status(directory):
    return load_run(directory).status["status"] if (directory / "config.yaml").exists() else None


def test_two_tasks_train_same_weights_as_one_process(submit, tmp_path):
    number, directory = submit("max_steps=200")
    wait_until(lambda: not submit.run("squeue", "--noheader"))
    assert status(directory) == "done", (tmp_path / f"slurm-{number}.out").read_text()
    both, alone = load_run(directory), train(compose(*ONE_RUN, "max_steps=200"), tmp_path / "alone")
    assert (both.config.trainer.launcher, both.config.trainer.processes) == ("slurm", 2)
    for name, tensor in alone.flow.state_dict().items():
        torch.testing.assert_close(both.flow.state_dict()[name], tensor, rtol=1e-10, atol=1e-10)
    assert both.result["nll"] == pytest.approx(alone.result["nll"], rel=1e-10)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [directory.name], "one run directory"
    assert (tmp_path / f"slurm-{number}.out").read_text().count("nats  runs/") == 1, "only one task prints"


def test_preempted_job_is_requeued_and_ends_at_same_bits(submit, tmp_path):
    words = ("max_steps=2000", "trainer.checkpoint_every=100")
    number, directory = submit(*words)
    wait_until((directory / "checkpoints/last.ckpt").exists)
    submit.run("scancel", "--signal=USR1", number)  # Slurm sends it itself under `--signal=USR1@60`
    wait_until(lambda: "Restarts=1" in submit.run("scontrol", "show", "job", number))
    wait_until(lambda: "PENDING" in submit.run("squeue", "--noheader", "--format=%T"))
    assert status(directory) == "interrupted"
    stopped = load_run(directory).checkpoint("last")["global_step"]
    assert 0 < stopped < 2000
    submit.run("scontrol", "update", f"JobId={number}", "StartTime=now")  # otherwise Slurm waits for two minutes
    wait_until(lambda: not submit.run("squeue", "--noheader"))
    assert status(directory) == "done", (tmp_path / f"slurm-{number}.out").read_text()
    assert len(load_run(directory).provenance["resumed"]) == 1
    whole = train(compose(*ONE_RUN, *words, "trainer=ddp_cpu"), tmp_path / "whole")
    weights, expected = (run.load_flow("last").state_dict() for run in (load_run(directory), whole))
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_killed_task_ends_the_job(submit, slurm, tmp_path):
    number, directory = submit("max_steps=200000", "trainer.compile=false")
    wait_until((directory / "checkpoints/last.ckpt").exists)
    tasks = [p for p in psutil.process_iter(["cmdline"]) if "trainer=slurm" in (p.info["cmdline"] or [])]
    max(tasks, key=lambda task: int(task.environ().get("SLURM_PROCID", -1))).kill()
    wait_until(lambda: not submit.run("squeue", "--noheader"))
    assert "task 1: Killed" in (tmp_path / f"slurm-{number}.out").read_text()
    said = load_run(directory).status.get("error", "nothing: it had not ended when Slurm killed it")
    assert said == "LostRankError: another rank was ended from outside"
    assert load_run(directory).load_flow("last")
