"""Sweeps, and runs of several tasks, on a Slurm of one node, which runs for these tests alone."""

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


@pytest.fixture
def submit(slurm, tmp_path):
    """Gives a run of two tasks to Slurm, by the file that users submit."""
    environment = os.environ | {"SLURM_CONF": slurm, "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def ask(*command):
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    def give(*words):
        number = ask("sbatch", "--parsable", "--ntasks-per-node=2", BATCH, "trainer.accelerator=cpu", *ONE_RUN, *words)
        return number.strip(), tmp_path / f"runs/slurm_{number.strip()}_banana_seed0"

    give.ask = ask
    return give


def until(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status(directory):
    return load_run(directory).status["status"] if (directory / "config.yaml").exists() else None


def test_two_tasks_train_what_one_process_does(submit, tmp_path):
    number, directory = submit("max_steps=200")
    until(lambda: not submit.ask("squeue", "--noheader"))
    assert status(directory) == "done", (tmp_path / f"slurm-{number}.out").read_text()
    both, alone = load_run(directory), train(compose(*ONE_RUN, "max_steps=200"), tmp_path / "alone")
    assert (both.config.trainer.launcher, both.config.trainer.processes) == ("slurm", 2)
    for name, tensor in alone.flow.state_dict().items():
        torch.testing.assert_close(both.flow.state_dict()[name], tensor, rtol=1e-10, atol=1e-10)
    assert both.result["nll"] == pytest.approx(alone.result["nll"], rel=1e-10)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [directory.name], "one run directory"
    assert (tmp_path / f"slurm-{number}.out").read_text().count("nats  runs/") == 1, "one task speaks"


def test_preempted_it_goes_back_into_the_queue_and_ends_the_same(submit, tmp_path):
    words = ("max_steps=2000", "trainer.checkpoint_every=100")
    number, directory = submit(*words)
    until((directory / "checkpoints/last.ckpt").exists)
    submit.ask("scancel", "--signal=USR1", number)  # as Slurm does itself by `--signal=USR1@60`
    until(lambda: "Restarts=1" in submit.ask("scontrol", "show", "job", number))
    until(lambda: "PENDING" in submit.ask("squeue", "--noheader", "--format=%T"))
    assert status(directory) == "interrupted"
    stopped = load_run(directory).checkpoint("last")["global_step"]
    assert 0 < stopped < 2000
    submit.ask("scontrol", "update", f"JobId={number}", "StartTime=now")  # Slurm lets it wait for two minutes
    until(lambda: not submit.ask("squeue", "--noheader"))
    assert status(directory) == "done", (tmp_path / f"slurm-{number}.out").read_text()
    assert len(load_run(directory).provenance["resumed"]) == 1
    whole = train(compose(*ONE_RUN, *words, "trainer=ddp_cpu"), tmp_path / "whole")
    weights, expected = (run.load_flow("last").state_dict() for run in (load_run(directory), whole))
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_a_task_that_is_killed_ends_the_job(submit, slurm, tmp_path):
    number, directory = submit("max_steps=200000", "trainer.compile=false")
    until((directory / "checkpoints/last.ckpt").exists)
    tasks = [p for p in psutil.process_iter(["cmdline"]) if "trainer=slurm" in (p.info["cmdline"] or [])]
    max(tasks, key=lambda task: int(task.environ().get("SLURM_PROCID", -1))).kill()
    until(lambda: not submit.ask("squeue", "--noheader"))
    assert "task 1: Killed" in (tmp_path / f"slurm-{number}.out").read_text()
    said = load_run(directory).status.get("error", "nothing: it had not ended when Slurm killed it")
    assert said == "LostRankError: another rank was ended from outside"
    assert load_run(directory).load_flow("last")
