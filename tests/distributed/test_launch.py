"""A run on two processes gives the same weights as one process, and leaves no process behind."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from flowlab import ConfigError, compose, load_run, resume, train
from flowlab.distributed.launch import STOP_TIMEOUT, find_cause, open_loopback_store
from flowlab.distributed.worker import dump_error
from flowlab.distributed.world import LostRankError
from flowlab.system.display import Display
from flowlab.system.files import WriteError
from flowlab.training.divergence import DivergedError

ROOT = Path(__file__).parent.parent.parent
# Rank 0 has 251 of the held-out points, rank 1 has 250.
SMALL = ("test_size=500", "validation_size=501", "batch_size=64", "flow.depth=3", "dtype=float64")
SMALL = (*SMALL, "trainer.progress=off", "trainer.checkpoint_every=50")


def weights(run):
    return run.load_flow("last").state_dict()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(compose(*SMALL, "max_steps=200"), tmp_path_factory.mktemp("alone") / "run")


def ranks_of(directory):
    """Return the worker processes of a run; their command line identifies them."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "flowlab.distributed.worker" in words and str(directory) in words:
            found.append(process)
    return found


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("words", "end"), [(["trainer.patience=1"], "patience"), (["trainer.max_time=0.5"], "max_time")]
)
def test_all_ranks_end_early_at_the_same_step(iris, tmp_path, words, end):
    of_file = (
        "target=file",
        f"target.path={iris}",
        "batch_size=64",
        "trainer.progress=off",
        "trainer.validate_every=50",
    )
    run = train(compose(*of_file, "trainer=ddp_cpu", "max_steps=5000", *words), tmp_path / "run")
    assert run.result["ended_by"] == end
    assert run.checkpoint("last")["global_step"] == run.result["steps"] == run.metrics["step"].iloc[-1] < 5000
    assert run.checkpoint("best")["global_step"] == run.result["best_step"]


@pytest.mark.parametrize("preset", ["nice", "realnvp", "glow", "nsf", "maf", "iaf", "nsf_ar", "planar", "radial"])
def test_two_processes_train_a_preset_as_one(preset, tmp_path):
    words = [f"flow={preset}", *SMALL, "max_steps=30", "flow.depth=2"]
    one, two = train(compose(*words), tmp_path / "one"), train(compose(*words, "trainer=ddp_cpu"), tmp_path / "two")
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[name], tensor, rtol=1e-10, atol=1e-10)


# Each rank sums its half of a minibatch first; that changes the rounding.
def test_two_processes_train_the_same_weights_as_one(alone, tmp_path, monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "1")  # an earlier job of a launcher may leave these
    monkeypatch.setenv("WORLD_SIZE", "9")
    both = train(compose(*SMALL, "max_steps=200", "trainer=ddp_cpu"), tmp_path / "run")
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(weights(both)[name], tensor, rtol=1e-10, atol=1e-10)
    assert both.result["nll"] == pytest.approx(alone.result["nll"], rel=1e-10)
    assert both.result["steps"] == 200
    for column in ("step", "loss", "nll", "kl", "lr", "grad_norm"):
        pairs = zip(both.metrics[column].dropna(), alone.metrics[column].dropna(), strict=True)
        assert all(first == pytest.approx(second, rel=1e-9) for first, second in pairs), column
    assert {path.name for path in both.directory.iterdir()} == {path.name for path in alone.directory.iterdir()}


@pytest.fixture(scope="module")
def inductor(tmp_path_factory):
    return str(tmp_path_factory.mktemp("inductor"))


def test_two_compiled_processes_train_the_same_weights_as_one_eager_process(alone, tmp_path, monkeypatch, inductor):
    """The mean over the processes comes between the graphs of the gradients and of the update."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", inductor)
    both = train(compose(*SMALL, "max_steps=200", "trainer=ddp_cpu", "trainer.compile=true"), tmp_path / "run")
    assert both.result["compiled"]
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(weights(both)[name], tensor, rtol=1e-10, atol=1e-10)
    for column in ("loss", "nll", "grad_norm"):
        pairs = zip(both.metrics[column].dropna(), alone.metrics[column].dropna(), strict=True)
        assert all(first == pytest.approx(second, rel=1e-9) for first, second in pairs), column


@pytest.fixture
def change_ranks(monkeypatch):
    """Return a function that makes every rank run some lines before training; the lines can use the variable `rank`."""

    def change(lines):
        code = (
            "import os, sys, torch\nfrom flowlab.training.loop import Loop\n"
            f"from flowlab.distributed.worker import main\nrank = int(os.environ['LOCAL_RANK'])\n{lines}\n"
            "sys.exit(main(*sys.argv[1:]))"
        )
        start = subprocess.Popen
        monkeypatch.setattr(
            "flowlab.distributed.launch.subprocess.Popen",
            lambda command, **more: start([command[0], "-c", code, *command[3:]], **more),
        )

    return change


def test_all_ranks_end_with_the_same_bits(change_ranks, tmp_path):
    change_ranks(
        "def keep(loop, progress=None, run=Loop.run):\n    run(loop, progress)\n"
        "    torch.save(loop.jobs[0].module.state_dict(), f'" + str(tmp_path) + "/{rank}.pt')\n"
        "Loop.run = keep"
    )
    train(compose(*SMALL, "max_steps=100", "trainer=ddp_cpu"), tmp_path / "run")
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_without_averaged_gradients_the_weights_differ(alone, change_ranks, tmp_path, monkeypatch, inductor, compiled):
    """The comparison of weights can fail: here each rank keeps its own gradients."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", inductor)
    change_ranks("from flowlab.distributed.world import World\nWorld.all_reduce_mean = lambda self, values: values")
    words = (*SMALL, "max_steps=200", "trainer=ddp_cpu", f"trainer.compile={compiled}")
    apart = train(compose(*words), tmp_path / "run")
    difference = max(float((weights(apart)[name] - tensor).abs().max()) for name, tensor in weights(alone).items())
    assert difference > 1e-3


def test_the_store_listens_on_the_loopback_alone():
    store = open_loopback_store()
    sockets = [s for s in psutil.Process().net_connections() if s.status == psutil.CONN_LISTEN]
    assert [s.laddr.ip for s in sockets if s.laddr.port == store.port] == ["127.0.0.1"]


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


@pytest.mark.parametrize(("started_on", "resumed_on"), [(2, 1), (1, 2)])
def test_a_run_resumes_on_a_different_number_of_processes(alone, tmp_path, started_on, resumed_on):
    directory = tmp_path / "run"
    command = [sys.executable, str(ROOT / "experiments/train.py"), *SMALL, "max_steps=200"]
    command += [f"trainer.devices={started_on}", f"hydra.run.dir={directory}"]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wait_until((directory / "checkpoints/last.ckpt").exists)
    process.kill()
    process.wait()
    wait_until(lambda: not ranks_of(directory))
    assert not load_run(directory).done
    run = resume(directory, f"trainer.devices={resumed_on}")
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(weights(run)[name], tensor, rtol=1e-10, atol=1e-10)
    assert load_run(directory).config.trainer.devices == resumed_on
    assert len(run.provenance["resumed"]) == 1


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


def test_a_batch_size_that_the_ranks_do_not_divide_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="batch_size=63: is shared by 2 processes"):
        train(compose(*SMALL, "trainer=ddp_cpu", "batch_size=63"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_each_job_of_a_sweep_has_its_own_processes_and_directory(tmp_path):
    words = ["-m", "trainer.devices=2,1", "max_steps=60", *SMALL, "hydra.sweep.dir=sweep"]
    command = [sys.executable, str(ROOT / "experiments/train.py"), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LOCAL_RANK": "3"}  # a different launcher may leave this
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    two, one = (load_run(tmp_path / "sweep" / number) for number in "01")
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[name], tensor, rtol=1e-10, atol=1e-10)
    assert [list(run.metrics["step"]) for run in (two, one)] == [[60]] * 2
    manifest = json.loads((tmp_path / "sweep/manifest.json").read_text())
    assert [job["config"]["trainer"]["devices"] for job in manifest["jobs"]] == [2, 1]


def test_in_a_notebook_the_ranks_write_nothing_to_stderr(tmp_path, monkeypatch, capfd):
    """Their progress is the cell's, so the notebook can be compared with a fresh run."""
    shown = []

    class Recorded(Display):
        def update(self, done, text, is_complete=True):
            shown.append((done, self.total, text))

    monkeypatch.setattr("flowlab.distributed.launch.is_in_notebook", lambda: True)
    monkeypatch.setattr("flowlab.distributed.launch.build_display", lambda kind: Recorded())
    train(compose(*SMALL, "max_steps=3000", "trainer=ddp_cpu", "trainer.progress=auto"), tmp_path / "run")
    assert capfd.readouterr().err == ""
    assert shown
    assert all(total == 3000 and 0 < done <= 3000 for done, total, _ in shown)
    assert "loss" in shown[-1][2]
