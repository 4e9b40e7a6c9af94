"""kill -9, of every kind: whatever the moment, what continues comes to the same end."""

import random
import signal
import subprocess

import psutil
import pytest
from faults.processes import (
    RUN,
    SWEEP,
    completed,
    ended,
    refused,
    run,
    same_end,
    start,
    status,
    trains,
)

KILLS = 20


def killed_until_done(first, further, begun, moments):
    """Start a command and kill it at moments, in seconds, until it is done; gives how often it was killed.

    Arguments:
        first, further: the words that start it, and those with which it continues once it has begun.
        begun: the file that says so.
        moments: for each session one; when none is left, the next is not killed.
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
            return kills + 1  # it was killed when it had done all
    completed(*(further if begun.exists() else first), cwd=begun.parent.parent)
    return len(moments)


def moments(seed, seconds):
    """Seeded moments of a command that takes so long; a third of it, in which it is imported, is left out."""
    draw = random.Random(seed)
    return [draw.uniform(0.33, 1.0) * seconds for _ in range(KILLS)]


def test_a_run_is_killed_at_any_moment(whole, tmp_path):
    """a run is killed (kill -9) at 20 random moments, and resumed each time"""
    left = moments(0, whole.seconds("run"))
    for number in range(KILLS):
        directory = tmp_path / str(number)
        first, further = [*RUN, f"hydra.run.dir={number}"], [f"resume={number}"]
        left = left[killed_until_done(first, further, directory / "config.yaml", left) :]
        same_end(directory, whole("run"))
        if not left:
            return


def test_a_sweep_is_killed_at_any_moment(whole, tmp_path):
    """a sweep is killed (kill -9) at 20 random moments, and resumed each time"""
    left = moments(1, whole.seconds("sweep"))
    for number in range(KILLS):
        directory = tmp_path / str(number)
        first, further = [*SWEEP, f"hydra.sweep.dir={number}"], ["-m", f"sweep_resume={number}"]
        left = left[killed_until_done(first, further, directory / "manifest.json", left) :]
        for job in "0123":
            same_end(directory / job, whole("sweep") / job)
        if not left:
            return


@pytest.mark.parametrize("name", ["config.yaml", "last.ckpt", "result.json", "density.png"])
def test_a_run_is_killed_between_write_and_rename(whole, shim, tmp_path, name):
    """a run is killed (kill -9) when {name} is written and not yet in its place"""
    words = [*RUN, "hydra.run.dir=run"]
    code, _ = run(*words, cwd=tmp_path, **shim, FLOWLAB_RENAME=name, FLOWLAB_SIGNAL="9")
    assert code == -signal.SIGKILL
    assert list((tmp_path / "run").rglob(f".{name}.part")), "it was killed somewhere else"
    completed(*(words if name == "config.yaml" else ["resume=run"]), cwd=tmp_path)
    same_end(tmp_path / "run", whole("run"))


def test_a_sweep_is_killed_before_it_has_a_manifest(whole, shim, tmp_path):
    """a sweep is killed (kill -9) when manifest.json is written and not yet in its place"""
    words = [*SWEEP, "hydra.sweep.dir=sweep"]
    code, _ = run(*words, cwd=tmp_path, **shim, FLOWLAB_RENAME="manifest.json", FLOWLAB_SIGNAL="9")
    assert code == -signal.SIGKILL
    completed(*words, cwd=tmp_path)
    for job in "0123":
        same_end(tmp_path / "sweep" / job, whole("sweep") / job)
    assert not list(tmp_path.rglob(".*.part"))


def test_a_process_of_a_sweep_is_killed(whole, tmp_path):
    """one of the processes of a sweep is killed, as for want of memory: its jobs fail, the others end"""
    words = [*SWEEP, "hydra.sweep.dir=sweep", "hydra.launcher.processes=2"]
    process = start(*words, cwd=tmp_path)
    trains(process, tmp_path / "sweep/0")
    victim = psutil.Process(process.pid).children()[0]
    victim.kill()
    code, error = ended(process)
    assert code == 1
    assert "Traceback" not in error
    states = sorted(status(tmp_path / "sweep" / job) for job in "0123")
    assert states == ["done", "done", "failed", "failed"]
    completed("-m", "sweep_resume=sweep", cwd=tmp_path)
    for job in "0123":
        same_end(tmp_path / "sweep" / job, whole("sweep") / job)


def test_a_killed_sweep_leaves_no_process(whole, tmp_path):
    """a sweep is killed (kill -9), and the processes that it had end with it"""
    process = start(*SWEEP, "hydra.sweep.dir=sweep", "max_steps=1000000", cwd=tmp_path)
    trains(process, tmp_path / "sweep/0")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=30)[1]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_saves_the_run(whole, tmp_path, name):
    """a run is ended by {name}: it saves itself, says so, and continues from there"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    trains(process, tmp_path / "run")
    process.send_signal(getattr(signal, name))
    refused(ended(process), 130, "interrupted; continue with resume=")
    assert status(tmp_path / "run") == "interrupted"
    completed("resume=run", cwd=tmp_path)
    same_end(tmp_path / "run", whole("run"))


def test_a_run_is_suspended(whole, tmp_path):
    """a run is suspended and continues (SIGSTOP, SIGCONT); meanwhile its directory stays its own"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    trains(process, tmp_path / "run")
    process.send_signal(signal.SIGSTOP)
    refused(run("resume=run", cwd=tmp_path), 2, "another process is training this run")
    process.send_signal(signal.SIGCONT)
    code, error = ended(process)
    assert code == 0, error
    same_end(tmp_path / "run", whole("run"))


def test_nobody_listens_any_more(whole, tmp_path):
    """whoever read what a run prints is gone (a closed pipe): the run continues"""
    process = start(*RUN, "trainer.progress=lines", "hydra.run.dir=run", cwd=tmp_path)
    process.stderr.readline()
    process.stderr.close()
    process.stdout.close()
    assert process.wait(120) == 0
    same_end(tmp_path / "run", whole("run"))
