"""A run on two processes gives the same weights as one process, and leaves no process behind."""

import json
import os
import subprocess
import sys

import psutil
import pytest
import torch
from distributed.ranks import ROOT, SMALL, ranks_of, wait_until, weights

from flowlab import ConfigError, compose, load_run, resume, train
from flowlab.distributed.launch import open_loopback_store
from flowlab.system.display import Display


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


def test_two_compiled_processes_train_the_same_weights_as_one_eager_process(alone, tmp_path):
    """The mean over the processes comes between the graphs of the gradients and of the update."""
    both = train(compose(*SMALL, "max_steps=200", "trainer=ddp_cpu", "trainer.compile=true"), tmp_path / "run")
    assert both.result["compiled"]
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(weights(both)[name], tensor, rtol=1e-10, atol=1e-10)
    for column in ("loss", "nll", "grad_norm"):
        pairs = zip(both.metrics[column].dropna(), alone.metrics[column].dropna(), strict=True)
        assert all(first == pytest.approx(second, rel=1e-9) for first, second in pairs), column


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
def test_without_averaged_gradients_the_weights_differ(alone, change_ranks, tmp_path, compiled):
    """The comparison of weights can fail: here each rank keeps its own gradients."""
    change_ranks("from flowlab.distributed.world import World\nWorld.all_reduce_mean = lambda self, values: values")
    words = (*SMALL, "max_steps=200", "trainer=ddp_cpu", f"trainer.compile={compiled}")
    apart = train(compose(*words), tmp_path / "run")
    difference = max(float((weights(apart)[name] - tensor).abs().max()) for name, tensor in weights(alone).items())
    assert difference > 1e-3


def test_the_store_listens_on_the_loopback_alone():
    store = open_loopback_store()
    sockets = [s for s in psutil.Process().net_connections() if s.status == psutil.CONN_LISTEN]
    assert [s.laddr.ip for s in sockets if s.laddr.port == store.port] == ["127.0.0.1"]


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
