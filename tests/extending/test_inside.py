"""Add exactly the files that CONTRIBUTING.md names to a copy of flowlab; every component then works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(__file__).parent / "example_package" / "flowlab_example"

# component -> its name and the values in its YAML file
ADDED = {
    "elementwise bijector": ("sinh_arcsinh", None),
    "map": ("heavy_tails", None),
    "architecture": ("affine_coupling", {"layers": 2, "hidden": 8, "log_scale": 0.0}),
    "target": ("laplace", {"dim": 2, "scale": 1.0, "train_size": None}),
    "simulator": ("parabola", None),
    "objective": ("bounded_likelihood", {"floor": -20.0}),
    "metric": ("median_log_prob", None),
    "logger": ("row_counter", {"file": "count.txt"}),
    "optimizer": (
        "lion",
        {"lr": 0.01, "schedule": "cosine", "clip": None, "blend": 0.9, "decay": 0.99},
    ),
}

LOGGER = '''
from contextlib import contextmanager
from dataclasses import dataclass

from flowlab.config.registry import register
from flowlab.loggers.base import Logger


class Counter:
    rows = 0

    def log_metrics(self, metrics, step):
        self.rows += 1


@register("logger", "row_counter")
@dataclass(kw_only=True)
class RowCounter(Logger):
    """Writes the number of rows into a file of the run directory."""

    file: str = "count.txt"

    @contextmanager
    def open(self, run):
        counter = Counter()
        yield counter
        (run.directory / self.file).write_text(str(counter.rows))
'''

SCRIPT = """
from pathlib import Path

import torch
from conformance.tables import NAMES
from conformance.test_properties import make_subject

import flowlab
from flowlab.bijectors import SinhArcsinh
from flowlab.bijectors.examples import EXAMPLES
from flowlab.testing import PROPERTIES
from flowlab.testing.check import find

assert "SinhArcsinh" in NAMES and isinstance(EXAMPLES["SinhArcsinh"](), SinhArcsinh)
checked = [find(each, make_subject("SinhArcsinh", each, torch.float64)).holds for each in PROPERTIES]
assert False not in checked and checked.count(True) > 5, checked

words = ["max_steps=20", "batch_size=16", "test_size=50", "validation_size=50", "trainer.log_every=10"]
words += ["trainer.validate_every=10", "trainer.progress=off", "target=laplace"]
alone = ["flow=custom", "flow._target_=flowlab.bijectors.SinhArcsinh"]
runs = [
    flowlab.train(flowlab.compose(*words, *alone), "bijector"),
    flowlab.train(flowlab.compose(*words, "flow=maf", "flow.depth=1", "flow.map=heavy_tails"), "map"),
    flowlab.train(flowlab.compose(*words[:-1], "target=simulator", "target.task=parabola", "flow=maf"), "simulator"),
    flowlab.train(
        flowlab.compose(
            *words, "flow=affine_coupling", "objective=bounded_likelihood", "objective.floor=-15", "optimizer=lion",
            "metrics=[median_log_prob]", "logger=[csv,row_counter]", "logger.row_counter.file=rows.txt",
        ),
        "others",
    ),
]
assert [run.status["status"] for run in runs] == ["done"] * 4
assert "median_log_prob" in runs[3].result
assert Path("others/rows.txt").read_text() == "2"
assert (Path("others/figures/density.png")).exists()
"""


def read_contributing_table():
    """Return the table of CONTRIBUTING.md as component -> file names, which contain NAME."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w ]+) \| (\d) \| (.+?) \|", text, re.MULTILINE)
    files = {component: re.findall(r"`([^`]+)`", listed) for component, _, listed in rows}
    assert {component: int(count) for component, count, _ in rows} == {name: len(each) for name, each in files.items()}
    return files


def build_file(component, name, values, path):
    """Return the text of one file of a component."""
    if path.endswith(".yaml"):
        package = f"# @package logger.{name}\n" if component == "logger" else ""
        return package + yaml.safe_dump({"name": name} | values, sort_keys=False)
    if component == "logger":
        return LOGGER
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    if component == "elementwise bijector":
        return source
    group = {"architecture": "flow", "simulator": "task"}.get(component, component)
    start = "def " if component in ("metric", "map") else "@dataclass"
    decorated = source.replace(f"\n{start}", f'\n@register("{group}", "{name}")\n{start}', 1)
    return decorated.replace('"""\n', '"""\n\nfrom flowlab.config.registry import register\n', 1)


def test_files_named_in_contributing_are_enough(tmp_path):
    for folder in ("flowlab", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    files = read_contributing_table()
    assert files.keys() == ADDED.keys()
    for component, (name, values) in ADDED.items():
        for path in files[component]:
            place = tmp_path / path.replace("NAME", name)
            if place.exists():
                assert place.name == "examples.py"
                text = place.read_text(encoding="utf-8")
                text = text.replace("\nDIM =", "\nfrom flowlab.bijectors.sinh_arcsinh import SinhArcsinh\n\nDIM =", 1)
                line = '    "SinhArcsinh": lambda: SinhArcsinh(DIM, tail=1.5),\n}\n'
                place.write_text(text.rpartition("}\n")[0] + line, encoding="utf-8")
            else:
                place.write_text(build_file(component, name, values, path), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "tests")])}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
