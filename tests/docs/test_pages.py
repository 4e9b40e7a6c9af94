"""The Python blocks of the site run, and its commands name existing keys and options."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

import flowlab
from flowlab.cli.jobs import expand
from flowlab.cli.report import main as report
from flowlab.cli.sample import main as sample
from flowlab.cli.score import main as score
from flowlab.config import registry

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for path in (ROOT / "docs").rglob("*.md") if not {"tutorials", "_parts", "_build"} & set(path.parts[-3:-1])
)
NAMES = [path.relative_to(ROOT / "docs").as_posix() for path in PAGES]
TEXTS = dict(zip(NAMES, (path.read_text(encoding="utf-8") for path in PAGES), strict=True))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRAIN = re.compile(r"^(?:FLOWLAB_ALLOW=(\w+) )?(?:srun \S+ )?(?:flowlab-train|python experiments/train\.py) (.*)$")
V1 = ROOT / "tests" / "data" / "v1"
SHORT = ("max_steps=20", "test_size=200", "validation_size=100", "trainer.progress=off")
WITH_PYTHON = [name for name, text in TEXTS.items() if PYTHON.search(text)]
WITH_COMMANDS = [name for name, text in TEXTS.items() if SHELL.search(text)]


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Shorten runs, make the directories and files that the pages assume, and forget what a page registers."""
    compose, fit = flowlab.compose, flowlab.fit

    def short_fit(*given, **settings):
        return fit(*given, **settings | {"steps": min(settings.get("steps", 30), 30), "progress": "off"})

    monkeypatch.setattr(flowlab, "compose", lambda *words: compose(*words, *SHORT))
    monkeypatch.setattr(flowlab, "fit", short_fit)
    for group in registry.PACKAGES:
        registry.names(group)  # registers flowlab's own components, which stay after the test
        monkeypatch.setitem(registry._registered, group, dict(registry._registered[group]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(V1 / "reverse_killed", "runs/killed")
    shutil.copytree(V1 / "sweep_killed", "runs/2026-01-31_12-00-00-000000_sweep")
    draws = np.random.default_rng(0)
    rows = pandas.DataFrame({"hour": draws.uniform(0, 24, 300), "income": draws.lognormal(size=300)})
    rows.to_csv("rows.csv", index=False)
    rows.assign(age=draws.integers(18, 90, 300), group=draws.choice(["a", "b"], 300)).to_csv("people.csv", index=False)
    pandas.DataFrame({"height": draws.normal(size=300), "weight": draws.normal(size=300)}).to_csv(
        "points.csv", index=False
    )
    yield tmp_path
    for module in [name for name, each in sys.modules.items() if str(tmp_path) in str(getattr(each, "__file__", ""))]:
        del sys.modules[module]


def write_modules(text):
    """Write the modules of a page: blocks whose first line is the name of a file. Give the other blocks."""
    blocks = []
    for block in PYTHON.findall(text):
        if named := re.match(r"# (\w+\.py)\n", block):
            Path(named[1]).write_text(block, encoding="utf-8")
        else:
            blocks.append(block)
    return blocks


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_every_python_block_runs(reader, name):
    names = {}
    for block in write_modules(TEXTS[name]):
        exec(compile(block, name, "exec"), names)


def training_commands(text):
    """The words of each training command of a page, with the package that it allows."""
    lines = [line.partition("  #")[0] for block in SHELL.findall(text) for line in block.splitlines()]
    return [(found[1], shlex.split(found[2])) for line in lines if (found := TRAIN.match(line))]


@pytest.mark.parametrize("name", [name for name in WITH_COMMANDS if training_commands(TEXTS[name])])
def test_every_training_command_names_existing_keys(reader, name, monkeypatch):
    write_modules(TEXTS[name])
    for allowed, words in training_commands(TEXTS[name]):
        if allowed:
            monkeypatch.setenv("FLOWLAB_ALLOW", allowed)
        words = [word for word in words if not word.startswith(("hydra.run.dir=", "resume=", "sweep_resume="))]
        if any("launcher=slurm" in word or "launcher=ray" in word or "sweep=search" in word for word in words):
            continue  # they need a package that `make test-engines` installs
        jobs = expand([word for word in words if word != "-m"]) if "-m" in words else [words]
        own = [word for word in jobs[0] if not word.startswith(("hydra/", "hydra."))]
        flowlab.compose(*own)


def test_a_wrong_key_of_a_command_is_found(reader):
    text = "```bash\nflowlab-train flow.dept=3\n```\n"
    (_, words), *_ = training_commands(text)
    with pytest.raises(flowlab.ConfigError, match="depth"):
        flowlab.compose(*words)


def test_the_commands_of_the_guide_on_tables_run(reader):
    """From the file to a report, new rows and scores, also with conditions."""
    commands = {tuple(words) for _, words in training_commands(TEXTS["how-to/own-table.md"])}
    given = next(words for words in commands if "hydra.run.dir=runs/given" in words)
    for words in (("target=table", "target.path=rows.csv", "hydra.run.dir=runs/rows"), given):
        own, place = [word for word in words if "run.dir" not in word], words[-1].partition("=")[2]
        assert words in commands
        flowlab.train(flowlab.compose(*own), place)
    text = TEXTS["how-to/own-table.md"]
    for line in re.findall(r"^flowlab-(?:report|sample|score) .*$", text, re.MULTILINE):
        command, *words = shlex.split(line)
        run = {"flowlab-report": report, "flowlab-sample": sample, "flowlab-score": score}[command]
        assert run(words) == 0, line
    assert len(pandas.read_csv("new.csv")) == 1000
    assert len(pandas.read_csv("given.csv")) == 10
    assert Path("runs/rows/report.html").is_file()


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_programs_and_files_of_commands_exist(name):
    """Each command begins with a known program; a script of the repository exists, as does a target of make."""
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = {"pip", "uv", "python3", "sbatch", "srun", "torchrun", "make", "python"}
    for line in (line for block in SHELL.findall(TEXTS[name]) for line in block.splitlines() if line):
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        assert words[0] in known or words[0].startswith("flowlab-"), line
        assert words[0] != "make" or words[1] in targets, line
        assert not [word for word in words if word.startswith("experiments/") and not (ROOT / word).exists()], line


def test_the_check_of_the_claims_runs():
    """`python experiments/reproduce.py --check`, as the guide says."""
    command = [sys.executable, "experiments/reproduce.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "claims:" in done.stdout
