"""A resume first checks the files of the stopped run."""

import json
import re
import shutil

import pytest

from flowlab import ConfigError, compose, resume, train

SMALL = ("trainer.progress=off", "target=file", "flow.depth=1", "batch_size=16", "max_steps=200")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    from sklearn.datasets import load_iris

    directory = tmp_path_factory.mktemp("resuming")
    load_iris(as_frame=True).data.to_csv(directory / "iris.csv", index=False)
    every = [f"trainer.{name}_every=50" for name in ("log", "validate", "checkpoint")]
    return train(compose(*SMALL, *every, f"target.path={directory / 'iris.csv'}"), directory / "run").directory


@pytest.fixture
def stopped_run(finished_run, tmp_path):
    directory = shutil.copytree(finished_run, tmp_path / "run")
    (directory / "status.json").write_text('{"status": "interrupted"}')
    return directory


def test_run_with_all_its_files_resumes(stopped_run, finished_run):
    (stopped_run / "checkpoints/.best.ckpt.part").write_text("left by a kill")
    assert resume(stopped_run).result["nll"] == json.loads((finished_run / "result.json").read_text())["nll"]
    assert not list(stopped_run.rglob(".*"))


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
def test_a_damaged_file_is_named(stopped_run, name, change, complaint):
    path = stopped_run / name
    content = path.read_bytes()
    path.unlink()
    if change:
        path.write_bytes(change(content))
    before = {file: file.read_bytes() for file in stopped_run.rglob("*") if file.is_file()}
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        resume(stopped_run)
    assert before == {file: file.read_bytes() for file in stopped_run.rglob("*") if file.is_file()}
