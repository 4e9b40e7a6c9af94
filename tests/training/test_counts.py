"""One command composes once, builds every object once, and reads a data file once."""

import hashlib
import json

import pytest
import torch

from flowlab.cli.main import main
from flowlab.config import compose as composing
from flowlab.flows.mlp import MLP
from flowlab.targets.file import FileTarget

SMALL = ["trainer.progress=off", "batch_size=64", "flow.depth=2", "max_steps=40", "trainer.checkpoint_every=20"]


@pytest.fixture
def counts(monkeypatch, iris):
    """Count compositions by Hydra, targets built, hashes of the file, and flows built outside the meta device."""
    made = {"composed": 0, "target": 0, "hashed": 0, "flow": 0}

    def count(name, usual, matters=lambda *arguments, **options: True):
        def counting(*arguments, **options):
            made[name] += bool(matters(*arguments, **options))
            return usual(*arguments, **options)

        return counting

    monkeypatch.setattr(composing, "hydra_compose", count("composed", composing.hydra_compose))
    monkeypatch.setattr(FileTarget, "__init__", count("target", FileTarget.__init__))
    content = iris.read_bytes()
    monkeypatch.setattr(hashlib, "sha256", count("hashed", hashlib.sha256, lambda data=b"", **_: data == content))
    monkeypatch.setattr(
        MLP, "build", count("flow", MLP.build, lambda *_, **__: torch.get_default_device().type != "meta")
    )
    return made


def test_a_run_builds_everything_once(counts, iris, tmp_path):
    words = [*SMALL, "target=file", f"target.path={iris}", f"hydra.run.dir={tmp_path}/run"]
    assert main(words) == 0
    assert counts == {"composed": 1, "target": 1, "hashed": 1, "flow": 1}

    (tmp_path / "run/status.json").write_text(json.dumps({"status": "interrupted"}))
    counts.update(dict.fromkeys(counts, 0))
    assert main([f"resume={tmp_path}/run"]) == 0
    assert counts == {"composed": 0, "target": 1, "hashed": 1, "flow": 1}
