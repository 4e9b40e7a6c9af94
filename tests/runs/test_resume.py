"""A run resumes elsewhere with the settings that may change, and only from files that are whole."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from flowlab import ConfigError, compose, resume, train
from flowlab.runs.begin import write_config
from flowlab.runs.directory import Run
from flowlab.runs.resume import is_same_run, relocate
from flowlab.training.train import find_run


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
