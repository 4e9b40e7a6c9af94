"""Kills and signals at any moment: the resumed run or sweep ends with the same results."""

import random
import signal
import subprocess

import psutil
import pytest
from faults.processes import (
    RUN,
    SWEEP,
    check_completes,
    check_refused,
    check_same_end,
    run,
    start,
    status,
    wait_for_checkpoint,
    wait_for_end,
)

KILLS = 20
PRESETS = ["nice", "realnvp", "glow", "nsf", "maf", "iaf", "nsf_ar", "planar", "radial"]


def kill_until_done(first, further, begun, moments):
    """Start a command again and again, kill it each time until it is done, and return the number of kills.

    Arguments:
        first, further: the command line before and after the file `begun` exists.
        begun: a file that the command writes at its beginning.
        moments: seconds from the start of each session to its kill; the session after the last is not killed.
    """
    for kills, moment in enumerate(moments):
        process = start(*(further if begun.exists() else first), cwd=begun.parent.parent)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
        _, error = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), error
        if process.returncode == 0:
            return kills
        if begun.name == "config.yaml" and begun.exists() and status(begun.parent) == "done":
            return kills + 1  # killed after all work was done
    check_completes(*(further if begun.exists() else first), cwd=begun.parent.parent)
    return len(moments)


def draw_moments(seed, seconds):
    """Draw the seconds at which to kill a command of this duration; the first third is import time and left out."""
    draw = random.Random(seed)
    return [draw.uniform(0.33, 1.0) * seconds for _ in range(KILLS)]


def test_a_run_is_killed_at_any_moment(reference, tmp_path):
    """a run is killed (kill -9) at 20 random moments, and resumed each time"""
    left = draw_moments(0, reference.seconds("run"))
    for number in range(KILLS):
        directory = tmp_path / str(number)
        first, further = [*RUN, f"hydra.run.dir={number}"], [f"resume={number}"]
        left = left[kill_until_done(first, further, directory / "config.yaml", left) :]
        check_same_end(directory, reference("run"))
        if not left:
            return


def test_a_sweep_is_killed_at_any_moment(reference, tmp_path):
    """a sweep is killed (kill -9) at 20 random moments, and resumed each time"""
    left = draw_moments(1, reference.seconds("sweep"))
    for number in range(KILLS):
        directory = tmp_path / str(number)
        first, further = [*SWEEP, f"hydra.sweep.dir={number}"], ["-m", f"sweep_resume={number}"]
        left = left[kill_until_done(first, further, directory / "manifest.json", left) :]
        for job in "0123":
            check_same_end(directory / job, reference("sweep") / job)
        if not left:
            return


def test_a_sweep_with_compiled_stacks_is_killed(tmp_path):
    """a sweep with compiled stacks is killed (kill -9) after a checkpoint, and resumed"""
    words = [*SWEEP, "seed=0,1,2,3,4", "flow.depth=1", "trainer.compile=true"]
    check_completes(*words, "hydra.sweep.dir=whole", cwd=tmp_path)
    process = start(*words, "hydra.sweep.dir=sweep", "hydra.launcher.processes=2", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "sweep/1")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert {status(tmp_path / "sweep" / job) for job in "01"} == {"running"}
    check_completes("-m", "sweep_resume=sweep", cwd=tmp_path)
    for job in "01234":
        check_same_end(tmp_path / "sweep" / job, tmp_path / "whole" / job)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_killed(tmp_path, preset):
    """a run with flow={preset} is killed (kill -9) after a checkpoint, and resumed"""
    words = [f"flow={preset}", *RUN, "max_steps=400"]
    check_completes(*words, "hydra.run.dir=whole", cwd=tmp_path)
    process = start(*words, "hydra.run.dir=run", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "run")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    check_completes("resume=run", cwd=tmp_path)
    check_same_end(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("name", ["config.yaml", "last.ckpt", "result.json", "density.png"])
def test_a_run_is_killed_between_write_and_rename(reference, shim, tmp_path, name):
    """a run is killed (kill -9) after {name} is written and before it is renamed into place"""
    words = [*RUN, "hydra.run.dir=run"]
    code, _ = run(*words, cwd=tmp_path, **shim, FLOWLAB_RENAME=name, FLOWLAB_SIGNAL="9")
    assert code == -signal.SIGKILL
    assert list((tmp_path / "run").rglob(f".{name}.part")), "the kill was not before the rename"
    check_completes(*(words if name == "config.yaml" else ["resume=run"]), cwd=tmp_path)
    check_same_end(tmp_path / "run", reference("run"))


def test_a_sweep_is_killed_before_it_has_a_manifest(reference, shim, tmp_path):
    """a sweep is killed (kill -9) after manifest.json is written and before it is renamed into place"""
    words = [*SWEEP, "hydra.sweep.dir=sweep"]
    code, _ = run(*words, cwd=tmp_path, **shim, FLOWLAB_RENAME="manifest.json", FLOWLAB_SIGNAL="9")
    assert code == -signal.SIGKILL
    check_completes(*words, cwd=tmp_path)
    for job in "0123":
        check_same_end(tmp_path / "sweep" / job, reference("sweep") / job)
    assert not list(tmp_path.rglob(".*.part"))


def test_killed_process_of_a_sweep_fails_only_its_jobs(reference, tmp_path):
    """one process of a sweep is killed, as by the out-of-memory killer: its jobs fail, the others finish"""
    words = [*SWEEP, "hydra.sweep.dir=sweep", "hydra.launcher.processes=2"]
    process = start(*words, cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "sweep/0")
    victim = psutil.Process(process.pid).children()[0]
    victim.kill()
    code, error = wait_for_end(process)
    assert code == 1
    assert "Traceback" not in error
    states = sorted(status(tmp_path / "sweep" / job) for job in "0123")
    assert states == ["done", "done", "failed", "failed"]
    check_completes("-m", "sweep_resume=sweep", cwd=tmp_path)
    for job in "0123":
        check_same_end(tmp_path / "sweep" / job, reference("sweep") / job)


def test_a_killed_sweep_leaves_no_process(reference, tmp_path):
    """a sweep is killed (kill -9): all its processes end"""
    process = start(*SWEEP, "hydra.sweep.dir=sweep", "max_steps=1000000", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "sweep/0")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=30)[1]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_saves_the_run(reference, tmp_path, name):
    """a run receives {name}: it saves a checkpoint, prints how to resume, and resumes from there"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "run")
    process.send_signal(getattr(signal, name))
    check_refused(wait_for_end(process), 130, "interrupted; continue with resume=")
    assert status(tmp_path / "run") == "interrupted"
    check_completes("resume=run", cwd=tmp_path)
    check_same_end(tmp_path / "run", reference("run"))


def test_suspended_run_keeps_its_lock(reference, tmp_path):
    """a run is suspended and continues (SIGSTOP, SIGCONT): meanwhile no other process can resume it"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "run")
    process.send_signal(signal.SIGSTOP)
    check_refused(run("resume=run", cwd=tmp_path), 2, "another process is training this run")
    process.send_signal(signal.SIGCONT)
    code, error = wait_for_end(process)
    assert code == 0, error
    check_same_end(tmp_path / "run", reference("run"))


def test_closed_output_pipe_does_not_stop_a_run(reference, tmp_path):
    """nobody reads the output of a run any more (a closed pipe): the run continues"""
    process = start(*RUN, "trainer.progress=lines", "hydra.run.dir=run", cwd=tmp_path)
    process.stderr.readline()
    process.stderr.close()
    process.stdout.close()
    assert process.wait(120) == 0
    check_same_end(tmp_path / "run", reference("run"))
