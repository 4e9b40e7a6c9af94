"""A run resumes elsewhere with the settings that may change, and only from files that are whole."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch

from flowlab import ConfigError, compose, resume, train
from flowlab.runs.directory import Run, write_config
from flowlab.runs.resume import is_same_run, relocate
from flowlab.training.resume import find_run


def test_device_settings_do_not_identify_a_run():
    config = compose("seed=3", "trainer.log_every=50")
    elsewhere = relocate(config, ["trainer=ddp_cpu", "trainer.compile=false"])
    assert (elsewhere.trainer.devices, elsewhere.trainer.compile, elsewhere.trainer.log_every) == (2, "false", 50)
    assert elsewhere != config
    assert is_same_run(config, elsewhere)
    assert not is_same_run(config, replace(elsewhere, seed=4))
    assert not is_same_run(config, relocate(compose("seed=3"), ["trainer=ddp_cpu"])), "log_every identifies a run"


def test_relocated_job_is_found_with_the_settings_of_its_sweep(tmp_path):
    config = compose("seed=3")
    write_config(Run(tmp_path, relocate(config, ["trainer.devices=4"])))
    assert find_run(tmp_path, config).config == config, "the sweep decides where it runs"


SMALL = ("trainer.progress=off", "target=file", "flow.depth=1", "batch_size=16", "max_steps=200")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    from sklearn.datasets import load_iris

    directory = tmp_path_factory.mktemp("resuming")
    load_iris(as_frame=True).data.to_csv(directory / "iris.csv", index=False)
    every = [f"trainer.{name}_every=50" for name in ("log", "validate", "checkpoint")]
    return train(compose(*SMALL, *every, f"target.path={directory / 'iris.csv'}"), directory / "run").directory


@pytest.fixture
def stopped(whole, tmp_path):
    directory = shutil.copytree(whole, tmp_path / "run")
    (directory / "status.json").write_text('{"status": "interrupted"}')
    return directory


def test_run_with_all_its_files_resumes(stopped, whole):
    (stopped / "checkpoints/.best.ckpt.part").write_text("left by a kill")
    assert resume(stopped).result["nll"] == json.loads((whole / "result.json").read_text())["nll"]
    assert not list(stopped.rglob(".*"))


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("checkpoints/last.ckpt", lambda content: content[:-1], "it is damaged; copy best.ckpt over it"),
        ("checkpoints/best.ckpt", lambda content: content[:99], "best.ckpt: cannot be read: it is damaged; remove the"),
        ("checkpoints/best.ckpt", None, "best.ckpt is missing, whose weights give the result"),
        ("metrics.csv", lambda content: content[: len(content) // 2], "metrics.csv: ends at step 50, and"),
        ("metrics.csv", lambda content: content.replace(b"\n100,", b"\n1x0,"), "metrics.csv: line 3 is damaged: '1x0,"),
        ("metrics.csv", None, "metrics.csv: ends at step 0"),
    ],
)
def test_a_damaged_file_is_named(stopped, name, change, complaint):
    path = stopped / name
    content = path.read_bytes()
    path.unlink()
    if change:
        path.write_bytes(change(content))
    before = {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()}
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        resume(stopped)
    assert before == {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()}


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_finished_run_trains_longer(schedule, tmp_path, capfd):
    quick = ("test_size=100", "validation_size=100", "batch_size=16", "flow.depth=1", f"optimizer.schedule={schedule}")
    train(compose(*quick, "max_steps=40"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"done already.*max_steps=N, with N above 40, trains it longer"):
        resume(tmp_path / "run")
    with pytest.raises(ConfigError, match="max_steps=40: the run has max_steps=40; a larger number"):
        resume(tmp_path / "run", "max_steps=40")
    capfd.readouterr()
    longer = resume(tmp_path / "run", "max_steps=80")
    rate = {"constant": "0.01", "cosine": "0.005"}[schedule]
    assert (
        f"follows a run of 80 steps, by optimizer.schedule={schedule}: it continues at {rate}\n"
        in capfd.readouterr().err
    )
    assert (longer.result["steps"], longer.done, longer.config.max_steps) == (80, True, 80)
    assert list(longer.metrics["step"]) == [40, 80]
    whole = train(compose(*quick, "max_steps=80"), tmp_path / "whole")
    weights = [run.load_flow("last").state_dict() for run in (longer, whole)]
    same = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert same == (schedule == "constant")
