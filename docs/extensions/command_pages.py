"""The pages of the commands, the exit statuses, the messages for mistakes, and the named sweeps."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from omegaconf import OmegaConf
from pages import prose, table
from settings_pages import opening_comment, shown

from flowlab.cli import command
from flowlab.cli.jobs import expand
from flowlab.config.compose import compose
from flowlab.config.directories import conf_directory
from flowlab.config.errors import ConfigError
from flowlab.system.process import EXIT_INTERRUPTED

ROOT = Path(__file__).parents[2]
SCRIPTS = ("summarize", "reproduce", "tabular_benchmark", "sbi_benchmark", "bench")  # programs of a clone, with options
# Mistakes whose messages the page of errors shows, as words of a command line.
MISTAKES = (
    "flow.dept=8",
    "flow.depth=deep",
    "flow.depth=0",
    "target=bananas",
    "optimizer.momentum=0.9",
    "epochs=10",
    "target=file",
    "objective=reverse_kl target.train_size=100",
    "flow.rank=3",
    "trainer.nodes=2",
)


def commands_page() -> str:
    """What each command prints for --help: the installed ones, then the scripts of a clone, then those of make."""
    text = "# Commands\n\nEach text below is what the command prints for `--help`.\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, place in sorted(project["scripts"].items(), key=lambda item: item[0] != "flowlab-train"):
        module, _, function = place.partition(":")
        text += f"\n## {name}\n\n```text\n{_help(getattr(import_module(module), function))}\n```\n"
    sys.path.insert(0, str(ROOT / "experiments"))
    text += "\n## Scripts of a clone\n\nThey are run as `python experiments/NAME.py`.\n"
    for name in SCRIPTS:
        text += f"\n### {name}.py\n\n```text\n{_help(import_module(name).main)}\n```\n"
    sys.path.remove(str(ROOT / "experiments"))
    return text + "\n## make\n\n" + table(["command", "does"], _targets())


def _help(main: object) -> str:
    printed, columns = io.StringIO(), 100
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit), _width(columns):
        main(["--help"])  # type: ignore[operator]
    return printed.getvalue().strip()


@contextlib.contextmanager
def _width(columns: int) -> Iterator[None]:
    """Let argparse write lines of a fixed width, whatever the terminal is."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        os.environ.update({"COLUMNS": before} if before else {})


def _targets() -> list[list[str]]:
    """The targets of the Makefile and what they do."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return [
        [f"`make {name}`", prose(does)] for name, does in re.findall(r"^([a-z-]+):.*##\s*(.*)$", text, re.MULTILINE)
    ]


def statuses_table() -> str:
    """The exit statuses of every command."""
    return table(
        ["exit status", "means"],
        [
            [str(command.OK), "done: every run of the command is done"],
            [str(command.FAILED), "a run failed, or a file could not be written"],
            [str(command.MISTAKE), "a mistake in the command or in a file that it names; nothing was written"],
            [str(EXIT_INTERRUPTED), "interrupted by Ctrl-C, SIGTERM or a lost connection; the run was saved"],
        ],
    )


def mistakes_list() -> str:
    """Mistakes, each with the message that it gets."""
    return "\n".join(f"`{words}`\n: {prose(message_of(words))}\n" for words in MISTAKES)


def message_of(words: str) -> str:
    """The message for a mistake; raise ValueError if flowlab accepts the words."""
    from flowlab.training.build import build

    try:
        build(compose(*words.split()))
    except ConfigError as error:
        return " ".join(str(error).split())
    raise ValueError(f"docs: {words!r} is no mistake any more; change MISTAKES in docs/extensions/command_pages.py")


def sweeps_page() -> str:
    """The named sweeps, with what they vary and how many runs they make."""
    options = sorted((conf_directory() / "sweep").glob("*.yaml"))
    rows = []
    for path in options:
        link = f"[`{path.stem}`](#{path.stem.replace('_', '-')})"
        rows.append([link, _count(path.stem), prose(opening_comment(path))])
    text = "# Named sweeps\n\n`flowlab-train -m +sweep=NAME` runs a named sweep. A value on the command line overrides "
    text += f"the sweep's own.\n\n{table(['sweep', 'runs', 'is'], rows)}"
    return text + "".join(_sweep(path) for path in options)


def _count(name: str) -> str:
    """The number of jobs of a sweep; a search chooses them as it runs."""
    settings = OmegaConf.load(conf_directory() / "sweep" / f"{name}.yaml")
    if "search" in str(settings.get("defaults")):
        search = OmegaConf.load(conf_directory() / "hydra" / "sweeper" / "search.yaml")
        return f"{search.n_trials}, one after the other"
    return str(len(expand([f"+sweep={name}"])))


def _sweep(path: Path) -> str:
    """A section about a sweep: the keys that it varies, and its YAML."""
    params = OmegaConf.load(path).hydra.sweeper.params
    rows = [[f"`{key}`", shown(value)] for key, value in params.items()]
    yaml = path.read_text(encoding="utf-8")
    return (
        f"\n## {path.stem}\n\n{prose(opening_comment(path))}\n\n{table(['key', 'values'], rows)}\n"
        f":::{{dropdown}} conf/sweep/{path.name}\n```yaml\n{yaml}```\n:::\n"
    )
