"""Errors and signals in one of two processes end both, with one message, and leave no process behind."""

import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
import torch
from distributed.ranks import ROOT, SMALL, ranks_of, wait_until, weights

from flowlab import compose, load_run, resume, train
from flowlab.distributed.launch import STOP_TIMEOUT, find_cause
from flowlab.distributed.worker import dump_error
from flowlab.distributed.world import LostRankError
from flowlab.system.files import WriteError
from flowlab.training.divergence import DivergedError


class TwoPartError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DivergedError("at step 3"), "DivergedError: at step 3"),
        (WriteError(28, "No space left", "a.csv"), "WriteError: a.csv: cannot be written: No space left"),
        (TwoPartError("disk", "gone"), "RuntimeError: TwoPartError: disk gone"),  # pickle cannot rebuild it
        (ValueError(lambda: None), "RuntimeError: ValueError: <function"),  # pickle cannot write it
    ],
)
def test_errors_keep_type_and_message_and_note_between_processes(error, expected):
    error.add_note("In rank 1: a traceback")
    copy = pickle.loads(dump_error(error))
    assert f"{type(copy).__name__}: {copy}".startswith(expected)
    assert copy.__notes__ == ["In rank 1: a traceback"]


@pytest.mark.parametrize(
    ("written", "codes", "cause"),
    [
        ({0: LostRankError("rank 1: x"), 1: ValueError("x")}, {0: 1, 1: 1}, "x"),
        ({1: ValueError("x")}, {1: 1}, "x"),
        ({0: LostRankError("gone")}, {0: 1, 1: -9}, "rank 1 of 2 was ended from outside, by SIGKILL"),
        ({}, {1: 3}, "rank 1 of 2 was ended from outside, with exit status 3"),
    ],
)
def test_the_cause_is_the_rank_that_failed_first(written, codes, cause, tmp_path):
    for rank, error in written.items():
        (tmp_path / f"{rank}.pickle").write_bytes(pickle.dumps(error))
    assert str(find_cause(tmp_path, codes, size=2)) == cause


def test_an_error_in_one_rank_ends_all_and_keeps_its_type(change_ranks, tmp_path):
    change_ranks("def fail(loop): raise ValueError('planted')\nif rank == 1: Loop._call = fail")
    started = time.monotonic()
    with pytest.raises(ValueError, match="planted"):
        train(compose(*SMALL, "max_steps=20000", "trainer=ddp_cpu"), tmp_path / "run")
    assert time.monotonic() - started < 120, "rank 0 waited for a rank that had ended: gloo gives up after half an hour"
    status = load_run(tmp_path / "run").status
    assert (status["status"], status["error"]) == ("failed", "ValueError: planted")
    assert "In rank 1" in status["traceback"]
    assert not ranks_of(tmp_path / "run")


def test_divergence_is_reported_as_in_one_process(tmp_path):
    words = (*SMALL, "max_steps=60", "optimizer.lr=1e60", "optimizer.schedule=constant")
    with pytest.raises(DivergedError, match=r"not finite at step \d: layer \d of 5") as failed:
        train(compose(*words, "trainer=ddp_cpu"), tmp_path / "run")
    status = load_run(tmp_path / "run").status
    assert status["status"] == "failed"
    assert status["error"] == f"DivergedError: {failed.value}"
    assert "In rank" in status["traceback"]


@pytest.mark.parametrize(
    ("how", "victim", "status"),
    [
        ("SIGKILL", "rank", "failed"),
        ("SIGKILL", "parent", "running"),
        ("SIGINT", "parent", "interrupted"),
        ("SIGTERM", "rank", "interrupted"),
    ],
)
def test_a_signal_to_any_process_ends_all_and_the_run_can_resume(tmp_path, how, victim, status):
    directory = tmp_path / "run"
    command = [sys.executable, str(ROOT / "experiments/train.py"), *SMALL, "trainer=ddp_cpu", "max_steps=200000"]
    command += [f"hydra.run.dir={directory}", "optimizer.schedule=constant", "trainer.compile=false"]
    command += ["trainer.log_every=10"]  # so a row is written before the first checkpoint, however slow the machine is
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
    wait_until((directory / "checkpoints/last.ckpt").exists)
    target = ranks_of(directory)[1] if victim == "rank" else process
    target.send_signal(getattr(signal, how))
    error = process.communicate(timeout=STOP_TIMEOUT)[1]  # later the launcher would kill the ranks
    assert process.returncode == {"failed": 1, "running": -9, "interrupted": 130}[status]
    wait_until(lambda: not ranks_of(directory))
    assert "Traceback" not in error
    run = load_run(directory)
    assert run.status["status"] == status
    last = run.checkpoint("last")["global_step"]
    assert run.load_flow("last")
    if status == "failed":
        assert "rank 1 of 2 was ended from outside, by SIGKILL" in run.status["error"]
    if status == "interrupted":
        assert last >= max(run.metrics["step"]), "the last step was saved"
    if how == "SIGINT":
        config = (directory / "config.yaml").read_text()
        (directory / "config.yaml").write_text(config.replace("max_steps: 200000", f"max_steps: {last + 10}"))
        run = resume(directory)
        words = (*SMALL, "trainer=ddp_cpu", "optimizer.schedule=constant", f"max_steps={last + 10}")
        uninterrupted = train(compose(*words), tmp_path / "uninterrupted")
        assert all(torch.equal(weights(run)[name], tensor) for name, tensor in weights(uninterrupted).items())
