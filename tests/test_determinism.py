"""The same command gives the same results bit for bit in different environments."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import torch

ROOT = Path(__file__).parent.parent
QUICK = ("test_size=500", "validation_size=500", "batch_size=64", "flow.depth=2", "trainer.progress=off")
COMMANDS = {
    "eager": ["max_steps=300", "trainer.compile=false"],
    "compiled": ["max_steps=300", "trainer.compile=true"],
    "a file": ["max_steps=300", "target=file", "target.path=points.csv"],
    "reverse KL": ["max_steps=300", "objective=reverse_kl"],
    "a stacked sweep": ["-m", "hydra/launcher=stacked", "hydra.launcher.processes=1", "seed=0,1", "max_steps=200"],
}
TIMES = ("seconds", "steps_per_second")


def start_training(words, directory, environment):
    """Start `python experiments/train.py` in a new directory, with `out` as its run directory."""
    directory.mkdir()
    rows = "".join(f"{i % 17},{i % 17 * 0.3 + i % 5}\n" for i in range(200))
    (directory / "points.csv").write_text("a,b\n" + rows)
    where = "hydra.sweep.dir=out" if words[0] == "-m" else "hydra.run.dir=out"
    command = [sys.executable, str(ROOT / "experiments/train.py"), *words, *QUICK, where]
    return subprocess.Popen(command, cwd=directory, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def collect_tensors(content, name=""):
    """Return every tensor of a checkpoint by its path: weights, moments and steps."""
    if isinstance(content, torch.Tensor):
        return {name: content}
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return {place: each for key, part in inner for place, each in collect_tensors(part, f"{name}/{key}").items()}


def read_results(directory):
    """Return all results in a run directory, except times."""
    found = {}
    for path in directory.rglob("metrics.csv"):
        found[path] = pandas.read_csv(path, dtype=str, keep_default_na=False).drop(columns=list(TIMES)).to_csv()
    for path in directory.rglob("result.json"):
        found[path] = {name: each for name, each in json.loads(path.read_text()).items() if name not in TIMES}
    for path in directory.rglob("config.yaml"):
        found[path] = path.read_text().replace(str(directory.parent), "")
    for path in directory.rglob("*.ckpt"):
        inside = collect_tensors(torch.load(path, weights_only=True))
        assert any("exp_avg_sq" in place for place in inside)
        found[path] = {place: (each.dtype, each.tolist()) for place, each in inside.items()}
    return {str(path.relative_to(directory)): content for path, content in found.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_same_command_gives_same_bits(name, tmp_path):
    """The second run has a different directory, PYTHONHASHSEED and number of OpenMP threads."""
    surroundings = [{"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}, {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "2"}]
    started = [start_training(COMMANDS[name], tmp_path / str(i), each) for i, each in enumerate(surroundings)]
    for process in started:
        assert process.wait(300) == 0, process.stderr.read()
    first, second = (read_results(tmp_path / f"{i}/out") for i in range(2))
    assert any(path.endswith("last.ckpt") for path in first)
    assert first.keys() == second.keys()
    for path in first:
        assert first[path] == second[path], path
