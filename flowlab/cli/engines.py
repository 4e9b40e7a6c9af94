"""What carries a sweep out, when it is not this process: Ray, Slurm, and Optuna's search.

The engines are extras, and their nodes under `conf/hydra/` compose without them. Nothing here imports torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.util import find_spec

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig

from flowlab.config.errors import ConfigError

# What to install for a node whose package is not there. Ray's launcher asks for versions older than it works with.
EXTRAS = {
    "hydra_ray_launcher": "pip install 'flowlab[ray]' && pip install --no-deps hydra-ray-launcher==1.2.2",
    "hydra_submitit_launcher": "pip install 'flowlab[slurm]'",
    "hydra_optuna_sweeper": "pip install 'flowlab[optuna]'",
}

# Where the classes of launchers and sweepers lie.
PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")


def check_engine(settings: DictConfig) -> None:
    """See that what the sweep is to go through is there.

    Raises:
        ConfigError: an extra that is not installed, or a machine without Slurm.
    """
    for part in ("launcher", "sweeper"):
        package = next((name for name in EXTRAS if name in target_of(settings, part).split(".")), None)
        chosen = f"hydra/{part}={settings.runtime.choices[f'hydra/{part}']}"
        if package and find_spec(f"hydra_plugins.{package}") is None:
            raise ConfigError(f"{chosen}: is an extra that is not installed: {EXTRAS[package]}")
        if package == "hydra_submitit_launcher" and not shutil.which("sbatch"):
            raise ConfigError(f"{chosen}: there is no Slurm on this machine: sbatch is not found")
    most = settings.sweeper.get("max_batch_size")
    if most is not None and most < 1:
        raise ConfigError(f"hydra.sweeper.max_batch_size={most}: must be at least 1 or null")


def target_of(settings: DictConfig, part: str) -> str:
    """The class of the launcher or the sweeper.

    Raises:
        ConfigError: its node is none of a plugin.
    """
    node = settings[part]
    target = str(node.get("_target_")) if isinstance(node, DictConfig) else ""
    if not target.startswith(PLUGINS):
        raise ConfigError(f"hydra.{part}={node}: is no {part}; choose one with hydra/{part}=...")
    return target


def elsewhere(settings: DictConfig) -> bool:
    """Whether the jobs may run on other machines than this one."""
    return any(package in str(settings.launcher._target_) for package in ("hydra_ray_", "hydra_submitit_"))


def searches(settings: DictConfig) -> bool:
    """Whether the sweeper chooses the jobs one after the other, so that they are not known beforehand."""
    return not str(settings.sweeper._target_).startswith("hydra._internal.core_plugins.basic_sweeper.")


def bounds_of_search(overrides: Sequence[Override]) -> list[list[str]]:
    """Jobs that a search may come to, with both ends of every interval and every one of other values among them.

    Example:
        >>> from flowlab.config.compose import parse_overrides
        >>> from flowlab.cli.engines import bounds_of_search
        >>> bounds_of_search(parse_overrides(["flow.depth=int(interval(1,8))", "flow.rank=0,1,2"]))
        [['flow.depth=1', 'flow.rank=0'], ['flow.depth=8', 'flow.rank=1'], ['flow.depth=1', 'flow.rank=2']]
    """
    words = [_words(override) for override in overrides]
    count = max(map(len, words), default=1)
    return [[choices[job % len(choices)] for choices in words if choices] for job in range(count)]


def _words(override: Override) -> list[str]:
    value, key = override.value(), override.get_key_element()
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    if override.is_sweep_override():
        return [f"{key}={each}" for each in override.sweep_string_iterator()]
    return [str(override.input_line)]
