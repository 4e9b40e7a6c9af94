"""A full, read-only or missing disk: one message, and after the repair the same results."""

import json
import shutil
import signal

import pandas
import pytest
from faults.processes import (
    RUN,
    SWEEP,
    check_completes,
    check_refused,
    check_same_end,
    list_files,
    read_files,
    run,
    start,
    status,
    wait_for_checkpoint,
    wait_for_end,
    wait_until,
)
from wandb_records import history, sessions, table

FULL = "cannot be written: No space left on device"
READ_ONLY = "Read-only file system"


def test_disk_is_full_before_a_run_begins(disk, reference):
    """the disk is full before a run begins: nothing is written"""
    disk.fill()
    check_refused(run(*RUN, "hydra.run.dir=run", cwd=disk.path), 2, f"run: {FULL}")
    assert not list_files(disk.path) - {"ballast"}
    disk.make_room()
    check_completes(*RUN, "hydra.run.dir=run", cwd=disk.path)
    check_same_end(disk.path / "run", reference("run"))


def test_disk_is_full_at_a_checkpoint(disk, reference):
    """the disk is full when a checkpoint is due: the previous checkpoint stays intact"""
    process = start(*RUN, "hydra.run.dir=run", cwd=disk.path)
    wait_for_checkpoint(process, disk.path / "run")
    disk.fill()
    check_refused(wait_for_end(process), 1, f"ckpt: {FULL}; when it can be, continue with resume=")
    assert status(disk.path / "run") == "failed"
    check_refused(run("resume=run", cwd=disk.path), 2, f"run: {FULL}")
    disk.make_room()
    check_completes("resume=run", cwd=disk.path)
    check_same_end(disk.path / "run", reference("run"))


def test_disk_is_full_while_two_processes_train(disk, reference):
    """the disk is full while two processes train one run: one message, as with one process"""
    process = start(*RUN, "trainer=ddp_cpu", "trainer.devices=2", "hydra.run.dir=run", cwd=disk.path)
    wait_for_checkpoint(process, disk.path / "run")
    disk.fill()
    check_refused(wait_for_end(process), 1, f"{FULL}; when it can be, continue with resume=")
    assert status(disk.path / "run") == "failed"
    disk.make_room()
    check_completes("resume=run", cwd=disk.path)
    # Two processes sum in a different order, which changes the rounding.
    assert nll(disk.path / "run") == pytest.approx(nll(reference("run")), rel=1e-5)


def nll(directory):
    return json.loads((directory / "result.json").read_text())["nll"]


def test_disk_is_full_while_wandb_records_offline(disk):
    """the disk is full while Weights & Biases records a run offline: after the resume no row is missing"""
    process = start(*RUN, "logger=wandb", "logger.wandb.mode=offline", "hydra.run.dir=run", cwd=disk.path)
    wait_for_checkpoint(process, disk.path / "run")
    disk.fill()
    code, error = wait_for_end(process)
    assert code == 1
    assert f"{FULL}; when it can be, continue with resume=" in error
    disk.make_room()
    check_completes("resume=run", cwd=disk.path)
    recorded = [row for session in sessions(disk.path / "run") for row in history(session)]
    rows = pandas.read_csv(disk.path / "run/metrics.csv")
    pandas.testing.assert_frame_equal(table(recorded)[rows.columns], rows, check_dtype=False)


def test_disk_is_full_at_a_row_of_metrics(disk, reference):
    """the disk is full when a row of metrics.csv is due"""
    words = [word for word in RUN if "every" not in word]
    words += ["trainer.log_every=1", "trainer.checkpoint_every=500", "trainer.validate_every=500"]
    check_completes(*words, "hydra.run.dir=reference", cwd=disk.path)
    process = start(*words, "hydra.run.dir=run", cwd=disk.path)
    wait_for_checkpoint(process, disk.path / "run")
    disk.fill()
    check_refused(wait_for_end(process), 1, f"metrics.csv: {FULL}; when it can be, continue with resume=")
    assert status(disk.path / "run") == "failed"
    disk.make_room()
    check_completes("resume=run", cwd=disk.path)
    check_same_end(disk.path / "run", disk.path / "reference")


@pytest.mark.parametrize(("moment", "name"), [("last.ckpt", "result.json"), ("result.json", "samples.png")])
def test_disk_is_full_at_the_end_of_a_run(disk, reference, shim, moment, name):
    """the disk is full when {name} is due, at the end of a run"""
    words = [*RUN, "trainer.checkpoint_every=1000", "hydra.run.dir=run"]  # the only checkpoint is at the end
    process = start(*words, cwd=disk.path, **shim, FLOWLAB_RENAME=moment, FLOWLAB_SIGNAL=str(int(signal.SIGSTOP)))
    wait_until(lambda: is_stopped(process), process)
    disk.fill()
    process.send_signal(signal.SIGCONT)
    check_refused(wait_for_end(process), 1, f"{name}: {FULL}; when it can be, continue with resume=")
    assert status(disk.path / "run") == "failed"
    disk.make_room()
    check_completes("resume=run", cwd=disk.path)
    check_same_end(disk.path / "run", reference("run"))


def is_stopped(process):
    with open(f"/proc/{process.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_disk_is_full_while_a_sweep_trains(disk, reference):
    """the disk is full while a sweep trains: its jobs fail with the reason, and the sweep resumes when there is room"""
    process = start(*SWEEP, "hydra.sweep.dir=sweep", cwd=disk.path)
    wait_until(lambda: all((disk.path / f"sweep/{job}/checkpoints/last.ckpt").exists() for job in "01"), process)
    disk.fill()
    code, error = wait_for_end(process)
    assert code == 1
    assert "Traceback" not in error
    assert {status(disk.path / "sweep" / job) for job in "0123"} == {"failed"}
    disk.make_room()
    check_completes("-m", "sweep_resume=sweep", cwd=disk.path)
    for job in "0123":
        check_same_end(disk.path / "sweep" / job, reference("sweep") / job)


def test_disk_of_temporary_files_is_full(disk, reference, tmp_path):
    """the disk of temporary files is full: a sweep uses a different directory"""
    disk.fill()
    process = start(*SWEEP, "hydra.sweep.dir=sweep", cwd=tmp_path, TMPDIR=str(disk.path))
    wait_for_checkpoint(process, tmp_path / "sweep/0")
    process.kill()
    process.communicate()
    check_completes("-m", "sweep_resume=sweep", cwd=tmp_path, TMPDIR=str(disk.path))
    for job in "0123":
        check_same_end(tmp_path / "sweep" / job, reference("sweep") / job)


def test_disk_of_the_log_is_full(disk, reference, tmp_path):
    """the disk that receives stdout and stderr is full: the run continues"""
    disk.fill()
    with open(disk.path / "log", "w") as log:
        process = start(*RUN, "trainer.progress=lines", "hydra.run.dir=run", cwd=tmp_path, output=log)
        assert process.wait(120) == 0
    check_same_end(tmp_path / "run", reference("run"))


def test_disk_is_read_only_before_a_run_begins(disk):
    """the disk is read-only before a run or a sweep begins: nothing is written"""
    disk.make_read_only()
    check_refused(run(*RUN, "hydra.run.dir=run", cwd=disk.path), 2, "run", READ_ONLY)
    check_refused(run(*SWEEP, "hydra.sweep.dir=sweep", cwd=disk.path), 2, "sweep", READ_ONLY)


def test_disk_becomes_read_only_while_a_run_trains(disk, reference):
    """the disk becomes read-only while a run trains"""
    process = start(*RUN, "hydra.run.dir=run", cwd=disk.path)
    wait_for_checkpoint(process, disk.path / "run")
    disk.make_read_only()
    ending = wait_for_end(process)
    check_refused(ending, 1, READ_ONLY, "when it can be, continue with resume=", "status.json cannot be written either")
    before = read_files(disk.path)
    check_refused(run("resume=run", cwd=disk.path), 2, f"run: cannot be written: {READ_ONLY}")
    assert read_files(disk.path) == before
    disk.make_writable()
    check_completes("resume=run", cwd=disk.path)
    check_same_end(disk.path / "run", reference("run"))


def test_deleted_run_directory_ends_the_run(tmp_path):
    """a run directory is deleted during training: the run ends and does not create the directory again"""
    process = start(*RUN, "max_steps=100000", "hydra.run.dir=run", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    check_refused(wait_for_end(process), 1, "run: cannot be written: No such file or directory")
    assert not (tmp_path / "run").exists()


def test_replaced_run_directory_is_not_written(reference, tmp_path):
    """a run directory is moved during training, and a different run begins at its path: their files do not mix"""
    first = start(*RUN, "max_steps=1000000", "hydra.run.dir=run", cwd=tmp_path)
    wait_for_checkpoint(first, tmp_path / "run")
    first.send_signal(signal.SIGSTOP)  # simulates a machine that hangs
    (tmp_path / "run").rename(tmp_path / "moved")
    second = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    wait_for_checkpoint(second, tmp_path / "run")
    first.send_signal(signal.SIGCONT)
    check_refused(wait_for_end(first), 1, "run: cannot be written: another directory has taken its place")
    code, error = wait_for_end(second)
    assert code == 0, error
    check_same_end(tmp_path / "run", reference("run"))


def test_file_instead_of_the_checkpoint_directory_ends_the_run(reference, tmp_path):
    """a file replaces the checkpoint directory while a run trains"""
    process = start(*RUN, "hydra.run.dir=run", cwd=tmp_path)
    wait_for_checkpoint(process, tmp_path / "run")
    process.send_signal(signal.SIGSTOP)
    (tmp_path / "run/checkpoints").rename(tmp_path / "away")
    (tmp_path / "run/checkpoints").write_text("mine")
    process.send_signal(signal.SIGCONT)
    check_refused(wait_for_end(process), 1, "run/checkpoints: cannot be written", "continue with resume=")
    assert status(tmp_path / "run") == "failed"
    (tmp_path / "run/checkpoints").unlink()
    (tmp_path / "away").rename(tmp_path / "run/checkpoints")
    check_completes("resume=run", cwd=tmp_path)
    check_same_end(tmp_path / "run", reference("run"))
