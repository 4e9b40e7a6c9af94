"""The texts that the command line prints: `flowlab-train --help`, and the result of a run in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flowlab.cli.engines import LAUNCHERS
from flowlab.config.errors import ConfigError
from flowlab.config.registry import conf_directory, names, option_names
from flowlab.system.files import read_json

if TYPE_CHECKING:
    from flowlab.runs.directory import Run

COMMANDS = """\
flowlab-train: train a normalizing flow into a run directory

  flowlab-train                                  the default run: Jang's banana
  flowlab-train experiment=NAME KEY=VALUE ...    another experiment, other values
  flowlab-train -m seed=0,1 flow.depth=2,4       every combination, one run each
  flowlab-train resume=RUN_DIR                   continue with a run that was stopped
  flowlab-train resume=RUN_DIR max_steps=20000   train a finished run longer
  flowlab-train -m sweep_resume=SWEEP_DIR        continue with a sweep that was stopped
  flowlab-train hydra.run.dir=RUN_DIR            choose the run directory
  flowlab-train --cfg job                        print the configuration and stop

Groups and their options:
"""


def usage() -> str:
    """Return the commands, each group of the configuration with its options, and the metrics."""
    folders = {path.parent.relative_to(conf_directory()).as_posix() for path in conf_directory().rglob("*/*.yaml")}
    options = {group: option_names(group) for group in sorted(folders)} | {"metrics=[...]": names("metric")}
    options["hydra/launcher"] = sorted([*options["hydra/launcher"], *LAUNCHERS])
    return COMMANDS + "\n".join(f"  {group:<14} {', '.join(names)}" for group, names in options.items())


def last_line(run: Run) -> str:
    """Return KL and reverse KL where they are known, NLL with its standard error, and the directory.

    Data also have the NLL of a Gaussian, and the median of the rows if the NLL is doubtful.
    """
    result, shown = run.result, run.directory
    shown = shown.relative_to(Path.cwd()) if shown.is_relative_to(Path.cwd()) else shown
    numbers = [f"{name}={result[name]:.4f}" for name in ("kl", "reverse_kl") if result.get(name) is not None]
    numbers += [
        f"{name}={result[name]:.4f}+-{result[f'{name}_se']:.4f}" for name in ("nll", "elbo") if f"{name}_se" in result
    ]
    if result.get("doubts") and result.get("nll_median") is not None:
        numbers += [f"nll_median={result['nll_median']:.4f}"]
    if result.get("kl") is None and result.get("gaussian_nll") is not None:
        numbers += [f"gaussian_nll={result['gaussian_nll']:.4f}"]
    return f"{' '.join(numbers)} nats  {shown}"


def score(directory: Path) -> float | None:
    """The number that a search minimizes; None if the run is not done.

    It is the KL in nats, the NLL where the KL is not known, and minus the ELBO where the target has no points.
    """
    try:
        result = read_json(directory / "result.json")
    except ConfigError:  # it is damaged
        return None
    return result.get("kl", result.get("nll", -result["elbo"] if "elbo" in result else None))
