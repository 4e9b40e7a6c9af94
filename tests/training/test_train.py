"""Run directories: their contents, resuming at the same bits, and refused directories."""

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

from flowlab import ConfigError, compose, load_run, resume, train, train_many
from flowlab.loggers.base import CSVMetrics
from flowlab.metrics.evaluation import evaluate
from flowlab.runs.directory import begin
from flowlab.system.files import lock_directory
from flowlab.targets.base import Batch

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "flow.depth=2", "batch_size=64")
EVERY_50 = ("trainer.log_every=50", "trainer.validate_every=50", "trainer.checkpoint_every=50")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "finished"
    return train(compose(*SMALL, *EVERY_50, "max_steps=150"), directory)


def state(run, name="last"):
    return torch.load(run.directory / f"checkpoints/{name}.ckpt", weights_only=True)


def is_same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(is_same(a, b) for a, b in zip(first, second, strict=True))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def test_a_run_directory_is_complete(whole_run):
    files = {str(path.relative_to(whole_run.directory)) for path in whole_run.directory.rglob("*") if path.is_file()}
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
    assert whole_run.status == {"status": "done"}
    assert {"steps", "nll", "nll_se", "seconds", "steps_per_second", "entropy", "kl"} <= set(whole_run.result)
    provenance = json.loads((whole_run.directory / "provenance.json").read_text())
    assert {"git_commit", "git_dirty", "packages", "seed", "device", "command"} <= set(provenance)


def test_finished_run_loads(whole_run):
    loaded = load_run(whole_run.directory)
    assert loaded.config == whole_run.config
    assert is_same(loaded.flow.state_dict(), whole_run.flow.state_dict())
    points = loaded.target.rows("test", 500, 0, torch.float64).float()
    assert -loaded.flow.log_prob(points).mean().item() == pytest.approx(loaded.result["nll"], rel=1e-5)
    assert isinstance(loaded.metrics, pandas.DataFrame)
    assert "done" in repr(loaded)


def test_best_is_the_step_with_the_lowest_held_out_nll(whole_run):
    validated = whole_run.metrics.dropna(subset="nll")
    assert whole_run.result["best_step"] == validated["step"].iloc[validated["nll"].argmin()]
    assert state(whole_run, "best")["global_step"] == whole_run.result["best_step"]


def test_best_checkpoint_does_not_change_while_training_continues(tmp_path):
    words = ("max_steps=100", "trainer.validate_every=10", "optimizer.lr=0.1", "target.train_size=10")
    run = train(compose(*SMALL, *words), tmp_path / "run")
    nll = run.metrics.set_index("step")["nll"].dropna()
    assert nll.idxmin() < 100, "the flow should overfit ten points"
    points = run.target.rows("validation", run.config.validation_size, run.config.seed)
    for name, step in (("best", nll.idxmin()), ("last", 100)):
        measured = evaluate(run.load_flow(name), Batch(points)).measure(["nll"])
        assert measured["nll"] == pytest.approx(nll[step], rel=1e-6), name


def test_same_configuration_ends_at_same_bits(whole_run, tmp_path):
    again = train(whole_run.config, tmp_path / "again")
    assert is_same(state(again)["state_dict"], state(whole_run)["state_dict"])
    timeless = [column for column in again.metrics if column not in ("seconds", "steps_per_second")]
    pandas.testing.assert_frame_equal(again.metrics[timeless], whole_run.metrics[timeless], check_exact=True)


def test_validation_does_not_disturb_training(whole_run, tmp_path):
    config = compose(*SMALL, "max_steps=150", "trainer.validate_every=10", "validation_size=77")
    assert is_same(state(train(config, tmp_path / "run"))["state_dict"], state(whole_run)["state_dict"])


def test_killed_and_resumed_run_ends_at_same_bits(whole_run, tmp_path):
    """A fast version of `make faults`: one kill at a fixed step, in a forked process."""
    directory = tmp_path / "killed"
    process = multiprocessing.get_context("fork").Process(target=train_and_kill, args=(whole_run.config, directory))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    killed = load_run(directory)
    assert killed.status["status"] == "running"
    assert state(killed)["global_step"] == 50
    with open(directory / "metrics.csv", "a") as file:
        file.write("100,1.2")  # a truncated line
    resumed = resume(directory)
    assert is_same(state(resumed)["state_dict"], state(whole_run)["state_dict"])
    assert is_same(state(resumed)["optimizer_states"], state(whole_run)["optimizer_states"])
    assert list(resumed.metrics["step"]) == [50, 100, 150]
    timeless = [column for column in whole_run.metrics if column not in ("seconds", "steps_per_second")]
    pandas.testing.assert_frame_equal(resumed.metrics[timeless], whole_run.metrics[timeless], check_exact=True)
    assert resumed.result["nll"] == whole_run.result["nll"]
    assert len(json.loads((directory / "provenance.json").read_text())["resumed"]) == 1


def train_and_kill(config, directory):
    torch.set_num_threads(1)
    log = CSVMetrics.log_metrics

    def kill_at_the_second_row(self, row, step):
        if step == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        log(self, row, step)

    CSVMetrics.log_metrics = kill_at_the_second_row
    train(config, directory)


def test_finished_run_is_not_resumed(whole_run):
    with pytest.raises(ConfigError, match="done already"):
        resume(whole_run.directory)


def test_existing_files_are_not_overwritten(whole_run, tmp_path):
    before = {path: path.read_bytes() for path in whole_run.directory.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="not empty.*resume="):
        train(compose(*SMALL), whole_run.directory)
    assert before == {path: path.read_bytes() for path in whole_run.directory.rglob("*") if path.is_file()}
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


def test_two_runs_do_not_share_a_directory(whole_run, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    with lock_directory(directory), pytest.raises(ConfigError, match="another process is training this run"):
        begin(whole_run.config, whole_run.target, directory, None)
    begin(whole_run.config, whole_run.target, directory, None)
    with pytest.raises(ConfigError, match="not empty.*resume="):
        begin(whole_run.config, whole_run.target, directory, None)


def test_run_killed_before_it_began_can_be_started_again(whole_run, tmp_path):
    (tmp_path / "status.json").write_text('{"status": "running"}')
    (tmp_path / ".provenance.json.part").write_text('{"time":')
    with pytest.raises(ConfigError, match="was killed before it began: start it again"):
        load_run(tmp_path)
    begin(whole_run.config, whole_run.target, tmp_path, None)
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "provenance.json", "status.json"}


def test_run_locked_by_another_process_is_not_resumed(whole_run, tmp_path):
    copy = shutil.copytree(whole_run.directory, tmp_path / "copy")
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


def test_figure_error_does_not_lose_the_result(iris, tmp_path, capfd, monkeypatch):
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


def test_a_damaged_status_is_named(whole_run, tmp_path):
    copy = shutil.copytree(whole_run.directory, tmp_path / "copy")
    (copy / "status.json").write_text('{"status": ')
    with pytest.raises(ConfigError, match=r"status\.json: cannot be read"):
        resume(copy)


def test_a_checkpoint_that_runs_code_is_refused(whole_run, tmp_path):
    copy = shutil.copytree(whole_run.directory, tmp_path / "copy")

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"state_dict": {}, "flowlab": Harmful()}, copy / "checkpoints/last.ckpt")
    with pytest.raises(ConfigError, match=r"last\.ckpt: cannot be read"):
        load_run(copy).load_flow("last")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [None, "", "a: [", "- 1", "seed: 1\n"])
def test_directory_without_a_run_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ConfigError):
        load_run(tmp_path)


def test_float64_run_has_float64_parameters(tmp_path):
    run = train(compose(*SMALL, "max_steps=20", "dtype=float64"), tmp_path / "run")
    assert {parameter.dtype for parameter in run.flow.parameters()} == {torch.float64}
    assert run.result["inverse_error"] < 1e-9


def test_configuration_of_a_wrong_type_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"train: config is a str and must come from flowlab\.compose"):
        train("flow.depth=2", tmp_path)
    with pytest.raises(ConfigError, match=r"compose: 3: must be text KEY=VALUE"):
        compose(3)
    with pytest.raises(ConfigError, match=r"train_many: needs a list of configurations, and a list of as many"):
        train_many([compose()], tmp_path / "run")
    with pytest.raises(ConfigError, match=r"train_many: config is a str and must come from flowlab\.compose"):
        train_many(["flow.depth=2"], [tmp_path / "run"])
