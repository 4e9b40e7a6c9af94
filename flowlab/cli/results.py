"""The result of a run in one line, and in one number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flowlab.config.errors import ConfigError
from flowlab.system.files import read_json

if TYPE_CHECKING:
    from flowlab.runs.directory import Run


def score(directory: Path) -> float | None:
    """The number that a search minimizes: KL in nats, or NLL where the KL is not known; None if the run is not done."""
    try:
        result = read_json(directory / "result.json")
    except ConfigError:  # it is damaged
        return None
    return result.get("kl", result.get("nll"))


def last_line(run: Run) -> str:
    """KL where it is known, NLL with its standard error, and the run directory."""
    result, shown = run.result, run.directory
    shown = shown.relative_to(Path.cwd()) if shown.is_relative_to(Path.cwd()) else shown
    numbers = [f"kl={result['kl']:.4f}"] if result.get("kl") is not None else []
    numbers += [f"nll={result['nll']:.4f}+-{result['nll_se']:.4f}"]
    return f"{' '.join(numbers)} nats  {shown}"
