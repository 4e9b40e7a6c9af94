"""A disk that is full, read-only or away: one message, and when it is mended, the same end."""

import json
import shutil
import signal

import pandas
import pytest
from faults.processes import (
    RUN,
    SWEEP,
    completed,
    contents,
    ended,
    files,
    refused,
    run,
    same_end,
    start,
    status,
    trains,
    wait_until,
)
from wandb_records import history, sessions, table

FULL = "cannot be written: No space left on device"
READ_ONLY = "Read-only file system"


def test_full_before_a_run_begins(disk, whole):
    """the disk is full before a run begins: nothing is written"""
    disk.fill()
    refused(run(*RUN, "hydra.run.dir=run", cwd=disk.path), 2, f"run: {FULL}")
    assert not files(disk.path) - {"ballast"}
    disk.make_room()
    completed(*RUN, "hydra.run.dir=run", cwd=disk.path)
    same_end(disk.path / "run", whole("run"))


def test_full_at_a_checkpoint(disk, whole):
    """the disk is full when a checkpoint is due: the one before is whole"""
    process = start(*RUN, "hydra.run.dir=run", cwd=disk.path)
    trains(process, disk.path / "run")
    disk.fill()
    refused(ended(process), 1, f"ckpt: {FULL}; when it can be, continue with resume=")
    assert status(disk.path / "run") == "failed"
    refused(run("resume=run", cwd=disk.path), 2, f"run: {FULL}")
    disk.make_room()
    completed("resume=run", cwd=disk.path)
    same_end(disk.path / "run", whole("run"))


def test_full_below_ranks(disk, whole):
    """the disk is full while two processes train one run: as below one process"""
    process = start(*RUN, "trainer=ddp_cpu", "trainer.devices=2", "hydra.run.dir=run", cwd=disk.path)
    trains(process, disk.path / "run")
    disk.fill()
    refused(ended(process), 1, f"{FULL}; when it can be, continue with resume=")
    assert status(disk.path / "run") == "failed"
    disk.make_room()
    completed("resume=run", cwd=disk.path)
    # Two processes add up in another order than one.
    assert nll(disk.path / "run") == pytest.approx(nll(whole("run")), rel=1e-5)


def nll(directory):
    return json.loads((directory / "result.json").read_text())["nll"]


def test_full_below_wandb(disk):
    """the disk is full while Weights & Biases records a run offline: no row is missing there in the end"""
    process = start(*RUN, "logger=wandb", "logger.wandb.mode=offline", "hydra.run.dir=run", cwd=disk.path)
    trains(process, disk.path / "run")
    disk.fill()
    code, error = ended(process)
    assert code == 1
    assert f"{FULL}; when it can be, continue with resume=" in error
    disk.make_room()
    completed("resume=run", cwd=disk.path)
    recorded = [row for session in sessions(disk.path / "run") for row in history(session)]
    rows = pandas.read_csv(disk.path / "run/metrics.csv")
    pandas.testing.assert_frame_equal(table(recorded)[rows.columns], rows, check_dtype=False)


def test_full_at_a_row(disk, whole):
    """the disk is full when a row of metrics.csv is due"""
    words = [word for word in RUN if "every" not in word]
    words += ["trainer.log_every=1", "trainer.checkpoint_every=500", "trainer.validate_every=500"]
    completed(*words, "hydra.run.dir=whole", cwd=disk.path)
    process = start(*words, "hydra.run.dir=run", cwd=disk.path)
    trains(process, disk.path / "run")
    disk.fill()
    refused(ended(process), 1, f"metrics.csv: {FULL}; when it can be, continue with resume=")
    assert status(disk.path / "run") == "failed"
    disk.make_room()
    completed("resume=run", cwd=disk.path)
    same_end(disk.path / "run", disk.path / "whole")


@pytest.mark.parametrize(("moment", "name"), [("last.ckpt", "result.json"), ("result.json", "samples.png")])
def test_full_at_the_end(disk, whole, shim, moment, name):
    """the disk is full when {name} is due, at the end of a run"""
    words = [*RUN, "trainer.checkpoint_every=1000", "hydra.run.dir=run"]  # the only one is at the end
    process = start(*words, cwd=disk.path, **shim, FLOWLAB_RENAME=moment, FLOWLAB_SIGNAL=str(int(signal.SIGSTOP)))
    wait_until(lambda: stopped(process), process)
    disk.fill()
    process.send_signal(signal.SIGCONT)
    refused(ended(process), 1, f"{name}: {FULL}; when it can be, continue with resume=")
    assert status(disk.path / "run") == "failed"
    disk.make_room()
    completed("resume=run", cwd=disk.path)
    same_end(disk.path / "run", whole("run"))


def stopped(process):
    with open(f"/proc/{process.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_full_in_a_sweep(disk, whole):
    """the disk is full while a sweep trains: its jobs fail with the reason, and it continues when there is room"""
    process = start(*SWEEP, "hydra.sweep.dir=sweep", cwd=disk.path)
    wait_until(lambda: all((disk.path / f"sweep/{job}/checkpoints/last.ckpt").exists() for job in "01"), process)
    disk.fill()
    code, error = ended(process)
    assert code == 1
    assert "Traceback" not in error
    assert {status(disk.path / "sweep" / job) for job in "0123"} == {"failed"}
    disk.make_room()
    completed("-m", "sweep_resume=sweep", cwd=disk.path)
    for job in "0123":
        same_end(disk.path / "sweep" / job, whole("sweep") / job)


def test_full_where_temporary_files_go(disk, whole, tmp_path):
    """the disk of temporary files is full: a sweep continues with another"""
    disk.fill()
    process = start(*SWEEP, "hydra.sweep.dir=sweep", cwd=tmp_path, TMPDIR=str(disk.path))
    trains(process, tmp_path / "sweep/0")
    process.kill()
    process.communicate()
    completed("-m", "sweep_resume=sweep", cwd=tmp_path, TMPDIR=str(disk.path))
    for job in "0123":
        same_end(tmp_path / "sweep" / job, whole("sweep") / job)


def test_full_where_the_log_goes(disk, whole, tmp_path):
    """the disk of the log is full, into which stdout and stderr go: the run continues"""
    disk.fill()
    with open(disk.path / "log", "w") as log:
        process = start(*RUN, "trainer.progress=lines", "hydra.run.dir=run", cwd=tmp_path, output=log)
        assert process.wait(120) == 0
    same_end(tmp_path / "run", whole("run"))


def test_read_only_before_a_run_begins(disk):
    """the disk is read-only before a run or a sweep begins: nothing is written"""
    disk.make_read_only()
    refused(run(*RUN, "hydra.run.dir=run", cwd=disk.path), 2, "run", READ_ONLY)
    refused(run(*SWEEP, "hydra.sweep.dir=sweep", cwd=disk.path), 2, "sweep", READ_ONLY)


def test_read_only_while_a_run_trains(disk, whole):
    """the disk becomes read-only while a run trains"""
    process = start(*RUN, "hydra.run.dir=run", cwd=disk.path)
    trains(process, disk.path / "run")
    disk.make_read_only()
    ending = ended(process)
    refused(ending, 1, READ_ONLY, "when it can be, continue with resume=", "status.json cannot be written either")
    before = contents(disk.path)
    refused(run("resume=run", cwd=disk.path), 2, f"run: cannot be written: {READ_ONLY}")
    assert contents(disk.path) == before
    disk.make_writable()
    completed("resume=run", cwd=disk.path)
    same_end(disk.path / "run", whole("run"))


def test_the_directory_is_deleted(tmp_path):
    """the directory of a run is deleted while it trains: it ends, and nothing comes back"""
    process = start(*RUN, "max_steps=100000", "hydra.run.dir=run", cwd=tmp_path)
    trains(process, tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    refused(ended(process), 1, "run: cannot be written: No such file or directory")
    assert not (tmp_path / "run").exists()


def test_the_directory_is_given_to_another_run(whole, tmp_path):
    """the directory of a run is moved away while it trains, and another begins in its place: they stay apart"""
    first = start(*RUN, "max_steps=1000000", "hydra.run.dir=run", cwd=tmp_path)
    trains(first, tmp_path / "run")
    first.send_signal(signal.SIGSTOP)  # as one whose machine hangs
    (tmp_path / "run").rename(tmp_path / "moved")
    second = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    trains(second, tmp_path / "run")
    first.send_signal(signal.SIGCONT)
    refused(ended(first), 1, "run: cannot be written: another directory has taken its place")
    code, error = ended(second)
    assert code == 0, error
    same_end(tmp_path / "run", whole("run"))


def test_a_file_in_the_place_of_the_checkpoints(whole, tmp_path):
    """the directory of the checkpoints becomes a file while a run trains"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    trains(process, tmp_path / "run")
    process.send_signal(signal.SIGSTOP)
    (tmp_path / "run/checkpoints").rename(tmp_path / "away")
    (tmp_path / "run/checkpoints").write_text("mine")
    process.send_signal(signal.SIGCONT)
    refused(ended(process), 1, "run/checkpoints: cannot be written", "continue with resume=")
    assert status(tmp_path / "run") == "failed"
    (tmp_path / "run/checkpoints").unlink()
    (tmp_path / "away").rename(tmp_path / "run/checkpoints")
    completed("resume=run", cwd=tmp_path)
    same_end(tmp_path / "run", whole("run"))
