"""A run directory: what is in it, how a run is resumed to the same bits, what is refused."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import pandas
import pytest
import torch

from flowlab import ConfigError, compose, load_run, resume, train
from flowlab.loggers.csv import CSVMetrics
from flowlab.metrics.evaluation import evaluate
from flowlab.runs.begin import begin
from flowlab.system.files import lock_directory
from flowlab.targets.base import Batch

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=2", "batch_size=64")
EVERY_50 = ("trainer.log_every=50", "trainer.validate_every=50", "trainer.checkpoint_every=50")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "finished"
    return train(compose(*SMALL, *EVERY_50, "max_steps=150"), directory)


def state(run, name="last"):
    return torch.load(run.directory / f"checkpoints/{name}.ckpt", weights_only=True)


def same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def test_a_run_directory_is_complete(finished):
    files = {str(path.relative_to(finished.directory)) for path in finished.directory.rglob("*") if path.is_file()}
    assert files == {
        "config.yaml",
        "provenance.json",
        "metrics.csv",
        "result.json",
        "status.json",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "figures/samples.png",
        "figures/density.png",
        "figures/layers.png",
        "figures/loss.png",
    }
    assert finished.status == {"status": "done"}
    assert {"steps", "nll", "nll_se", "seconds", "steps_per_second", "entropy", "kl"} <= set(finished.result)
    provenance = json.loads((finished.directory / "provenance.json").read_text())
    assert {"git_commit", "git_dirty", "packages", "seed", "device", "command"} <= set(provenance)


def test_a_run_loads_as_it_was(finished):
    loaded = load_run(finished.directory)
    assert loaded.config == finished.config
    assert same(loaded.flow.state_dict(), finished.flow.state_dict())
    points = loaded.target.rows("test", 500, 0, torch.float64).float()
    assert -loaded.flow.log_prob(points).mean().item() == pytest.approx(loaded.result["nll"], rel=1e-5)
    assert isinstance(loaded.metrics, pandas.DataFrame)
    assert "done" in repr(loaded)


def test_best_is_the_step_with_the_lowest_held_out_nll(finished):
    validated = finished.metrics.dropna(subset="nll")
    assert finished.result["best_step"] == validated["step"].iloc[validated["nll"].argmin()]
    assert state(finished, "best")["global_step"] == finished.result["best_step"]


def test_the_best_state_is_kept_as_it_was_while_training_goes_on(tmp_path):
    words = ("max_steps=100", "trainer.validate_every=10", "optimizer.lr=0.1", "target.train_size=10")
    run = train(compose(*SMALL, *words), tmp_path / "run")
    nll = run.metrics.set_index("step")["nll"].dropna()
    assert nll.idxmin() < 100, "ten points are soon known by heart"
    points = run.target.rows("validation", run.config.validation_size, run.config.seed)
    for name, step in (("best", nll.idxmin()), ("last", 100)):
        measured = evaluate(run.load_flow(name), Batch(points)).measure(["nll"])
        assert measured["nll"] == pytest.approx(nll[step], rel=1e-6), name


def test_the_same_configuration_gives_the_same_bits(finished, tmp_path):
    again = train(finished.config, tmp_path / "again")
    assert same(state(again)["state_dict"], state(finished)["state_dict"])
    timeless = [column for column in again.metrics if column not in ("seconds", "steps_per_second")]
    pandas.testing.assert_frame_equal(again.metrics[timeless], finished.metrics[timeless], check_exact=True)


def test_validation_does_not_disturb_training(finished, tmp_path):
    config = compose(*SMALL, "max_steps=150", "trainer.validate_every=10", "validation_size=77")
    assert same(state(train(config, tmp_path / "run"))["state_dict"], state(finished)["state_dict"])


def test_killed_and_resumed_equals_uninterrupted(finished, tmp_path):
    """`make faults` kills at any moment; this is one, in a process that needs no time to start."""
    directory = tmp_path / "killed"
    process = multiprocessing.get_context("fork").Process(target=trained_and_killed, args=(finished.config, directory))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    killed = load_run(directory)
    assert killed.status["status"] == "running"
    assert state(killed)["global_step"] == 50
    with open(directory / "metrics.csv", "a") as file:
        file.write("100,1.2")  # and a line cut short
    resumed = resume(directory)
    assert same(state(resumed)["state_dict"], state(finished)["state_dict"])
    assert same(state(resumed)["optimizer_states"], state(finished)["optimizer_states"])
    assert list(resumed.metrics["step"]) == [50, 100, 150]
    timeless = [column for column in finished.metrics if column not in ("seconds", "steps_per_second")]
    pandas.testing.assert_frame_equal(resumed.metrics[timeless], finished.metrics[timeless], check_exact=True)
    assert resumed.result["nll"] == finished.result["nll"]
    assert len(json.loads((directory / "provenance.json").read_text())["resumed"]) == 1


def trained_and_killed(config, directory):
    torch.set_num_threads(1)
    log = CSVMetrics.log_metrics

    def kill_at_the_second_row(self, row, step):
        if step == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        log(self, row, step)

    CSVMetrics.log_metrics = kill_at_the_second_row
    train(config, directory)


def test_a_done_run_is_not_resumed(finished):
    with pytest.raises(ConfigError, match="done already"):
        resume(finished.directory)


def test_nothing_is_overwritten(finished, tmp_path):
    before = {path: path.read_bytes() for path in finished.directory.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="not empty.*resume="):
        train(compose(*SMALL), finished.directory)
    assert before == {path: path.read_bytes() for path in finished.directory.rglob("*") if path.is_file()}
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is not a directory"):
        train(compose(*SMALL), tmp_path / "file")


def test_a_configuration_that_cannot_run_writes_nothing(tmp_path):
    with pytest.raises(ConfigError, match="flow.rank=3"):
        train(compose(*SMALL, "flow.rank=3"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_values_set_from_python_are_checked(tmp_path):
    config = compose(*SMALL)
    config.batch_size = 0
    with pytest.raises(ConfigError, match="batch_size=0"):
        train(config, tmp_path / "run")


def test_two_runs_do_not_share_a_directory(finished, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    with lock_directory(directory), pytest.raises(ConfigError, match="another process is training this run"):
        begin(finished.config, finished.target, directory, None)
    begin(finished.config, finished.target, directory, None)
    with pytest.raises(ConfigError, match="not empty.*resume="):
        begin(finished.config, finished.target, directory, None)


def test_a_run_that_was_killed_before_it_had_begun_is_started_again(finished, tmp_path):
    (tmp_path / "status.json").write_text('{"status": "running"}')
    (tmp_path / ".provenance.json.part").write_text('{"time":')
    with pytest.raises(ConfigError, match="was killed before it began: start it again"):
        load_run(tmp_path)
    begin(finished.config, finished.target, tmp_path, None)
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "provenance.json", "status.json"}


def test_a_run_that_another_process_trains_is_left_alone(finished, tmp_path):
    copy = shutil.copytree(finished.directory, tmp_path / "copy")
    (copy / "status.json").write_text('{"status": "running"}')
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    code = f"import fcntl, os, time; fcntl.flock(os.open({str(copy)!r}, os.O_RDONLY), fcntl.LOCK_EX)"
    code += "; print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        with pytest.raises(ConfigError, match="another process is training this run"):
            resume(copy)
        assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    finally:
        process.kill()
        process.communicate()
    assert resume(copy).status == {"status": "done"}


def test_a_figure_that_fails_costs_no_result(iris, tmp_path, capfd, monkeypatch):
    table = pandas.read_csv(iris)
    table.columns = ["in $^$", "US$_a$", "c", "d"]
    table.to_csv(iris, index=False)
    words = ("trainer.progress=off", "target=file", f"target.path={iris}", "max_steps=10")
    run = train(compose(*words), tmp_path / "dollars")
    assert (run.directory / "figures/samples.png").exists()
    monkeypatch.setattr("flowlab.plotting.run_figures", lambda *_: 1 / 0)
    run = train(compose(*words), tmp_path / "broken")
    assert run.result["steps"] == 10
    assert "figures: not all could be drawn: division by zero" in capfd.readouterr().err


def test_a_damaged_status_is_named(finished, tmp_path):
    copy = shutil.copytree(finished.directory, tmp_path / "copy")
    (copy / "status.json").write_text('{"status": ')
    with pytest.raises(ConfigError, match=r"status\.json: cannot be read"):
        resume(copy)


def test_a_checkpoint_that_runs_code_is_refused(finished, tmp_path):
    copy = shutil.copytree(finished.directory, tmp_path / "copy")

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"state_dict": {}, "flowlab": Harmful()}, copy / "checkpoints/last.ckpt")
    with pytest.raises(ConfigError, match=r"last\.ckpt: cannot be read"):
        load_run(copy).load_flow("last")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [None, "", "a: [", "- 1", "seed: 1\n"])
def test_a_directory_without_a_run_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ConfigError):
        load_run(tmp_path)


def test_float64(tmp_path):
    run = train(compose(*SMALL, "max_steps=20", "dtype=float64"), tmp_path / "run")
    assert {parameter.dtype for parameter in run.flow.parameters()} == {torch.float64}
    assert run.result["inverse_error"] < 1e-9
