"""Facts about a run that a report states: its data, its flow, how it ended, its commit and its versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flowlab.config.schema import flat

if TYPE_CHECKING:
    from flowlab.runs.directory import Run

PACKAGES = ("flowlab-nf", "torch", "numpy", "scipy", "pandas", "matplotlib", "scikit-learn")


@dataclass(frozen=True)
class Record:
    """Facts that a run recorded.

    Attributes:
        name: the name of the run directory.
        data: the name of the data file, or of the target.
        flow: the name of the flow.
        parameters: the number of learned numbers.
        seed: the run's seed.
        trained: how the training went, in words.
        best_step, steps: the step of the best validation, and the last step.
        commit: the commit of the code that trained the flow, in words.
        time: when the run began.
        settings: every key and value of the configuration.
        command: the words that trained the flow.
        ended_by: what ended the training.
        notes: the notes on the data that the run printed.
    """

    name: str
    data: str
    flow: str
    parameters: int
    seed: int
    trained: str
    best_step: int
    steps: int
    commit: str = "unknown"
    time: str = "unknown"
    settings: dict[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    ended_by: str = ""
    notes: Sequence[str] = ()

    def facts(self) -> dict[str, object]:
        """Facts about the flow and its training, by their names."""
        return {
            "Flow": self.flow,
            "Parameters": f"{self.parameters:,}",
            "Training": self.trained,
            "Seed": self.seed,
            "Began": self.time,
            "Commit": self.commit,
        }


def describe_run(run: Run) -> Record:
    """The facts about a run with a result; file names stand without their directories."""
    result, origin, target = run.result, run.provenance, run.target
    path = getattr(target, "path", None)
    steps, best = int(result.get("steps", 0)), int(result.get("best_step", 0))
    commit = str(origin.get("git_commit") or "")[:12] or "unknown"
    if origin.get("git_dirty"):
        commit += " with local changes"
    nodes = run.config.to_dict()
    return Record(
        name=run.directory.resolve().name,
        data=Path(path).name if path else run.config.target.name,
        flow=run.config.flow.name,
        parameters=sum(parameter.numel() for parameter in run.flow.parameters()),
        seed=run.config.seed,
        trained=f"{steps:,} steps, ended by {result.get('ended_by', 'unknown')}; weights of step "
        f"{best if result.get('weights') == 'best' else steps:,}",
        commit=commit,
        time=str(origin.get("time", "unknown")).replace("T", " ").replace("+00:00", " UTC"),
        settings={name: _plain(value, path) for name, value in flat(nodes).items()},
        command=[_plain(word, path) for word in origin.get("command", ())],
        best_step=best,
        steps=steps,
        ended_by=str(result.get("ended_by", "")),
        notes=[_plain(note, path) for note in target.notes],
    )


def versions() -> dict[str, str]:
    """The versions that make a report."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _plain(value: Any, path: Path | None) -> str:
    """A value as text, with the name of the data file in place of its path."""
    said = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, width=1000)
    said = said.removesuffix("...\n").strip()
    return said.replace(str(path), path.name).replace(str(path.resolve()), path.name) if path else said
