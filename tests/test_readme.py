"""Every Python block of README.md runs unchanged, and its commands name existing keys and options."""

import re
import shlex
import shutil
from pathlib import Path

import matplotlib.figure
import pytest
import torch

import flowlab
from flowlab.bijectors import AffineScalar

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
V1 = Path(__file__).parent / "data" / "v1"
SHORT = ("max_steps=20", "test_size=200", "validation_size=100", "trainer.progress=off")


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Return the names that the text assumes, create the directories that it assumes, and shorten runs."""
    compose = flowlab.compose
    monkeypatch.setattr(flowlab, "compose", lambda *overrides: compose(*overrides, *SHORT))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(V1 / "reverse_killed", "runs/killed")
    shutil.copytree(V1 / "sweep_killed", "runs/2026-01-31_12-00-00-000000_sweep")
    return {"MyBijector": AffineScalar, "mass": 1.0, "figure": matplotlib.figure.Figure(), "areas": torch.ones(2)}


def test_every_python_block_runs(reader):
    assert len(BLOCKS) >= 6
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), reader)
    moons, flow = torch.as_tensor(reader["moons"]).float(), reader["flow"]
    assert flow.log_prob(moons).mean() > -2.0  # a standard normal has -2.5
    assert reader["run"].done
    assert len(reader["runs"]) == 8
    assert len(reader["table"]) == 4
    assert reader["new"].columns.tolist() == reader["galaxies"].columns.tolist()
    assert "<h1>Report on galaxies</h1>" in Path("galaxies.html").read_text(encoding="utf-8")


def test_every_key_of_a_training_command_exists():
    """Composes each training command, so an unknown name is an error."""
    lines = re.findall(r"^(?:python experiments/train\.py|flowlab-train) (?!-m|resume|--)([^#\n]+)", TEXT, re.MULTILINE)
    lines += re.findall(r"`python experiments/train\.py ([^`]+)`", TEXT)
    keys = re.findall(r"`'?((?:logger|optimizer|trainer|batch_size)[\w.]*=[\w\[\],.]+)(?:'| [^`]*)?`", TEXT)
    assert len(lines) >= 5
    assert len(keys) >= 10
    for words in map(shlex.split, [*lines, *keys]):
        group = ["logger=wandb"] if words[0].startswith("logger.wandb.") else []
        flowlab.compose(*group, *words)
