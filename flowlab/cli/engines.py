"""Engines that run the jobs of a sweep: stacks in this process, Ray, Slurm and Optuna.

The last three are extras; their nodes under `conf/hydra/` compose without them. Nothing here imports torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf

from flowlab.cli.product import find_axis
from flowlab.config.component import as_typed, setting
from flowlab.config.errors import ConfigError

# How to install each engine. Ray's launcher pins versions that are older than those that it works with.
EXTRAS = {
    "hydra_ray_launcher": "pip install '.[ray]' && pip install --no-deps hydra-ray-launcher==1.2.2",
    "hydra_submitit_launcher": "pip install '.[slurm]'",
    "hydra_optuna_sweeper": "pip install '.[optuna]'",
}

# The packages of launchers and sweepers.
PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")


@dataclass(kw_only=True)
class StackedLauncherConfig:
    """Hydra's node `hydra/launcher=stacked`.

    Attributes:
        processes: the number of processes; null means one for each core.
        memory_gb: the largest stack, in gigabytes of memory; a larger one is split.
        fail_fast: the first job that fails ends the sweep.
    """

    _target_: str = "hydra_plugins.flowlab_stacked_launcher.StackedLauncher"
    processes: int | None = setting(None, minimum=1)
    memory_gb: float = setting(2.0, above=0)
    fail_fast: bool = False


@dataclass(kw_only=True)
class BasicLauncherConfig:
    """Hydra's node `hydra/launcher=basic`: one job after the other, each in this process.

    Attributes:
        fail_fast: the first job that fails ends the sweep.
    """

    _target_: str = "hydra_plugins.flowlab_stacked_launcher.BasicLauncher"
    fail_fast: bool = False


# The launchers that Hydra finds in its store, as they have no file under conf/; `basic` replaces Hydra's own.
LAUNCHERS: dict[str, type[StackedLauncherConfig] | type[BasicLauncherConfig]] = {
    "stacked": StackedLauncherConfig,
    "basic": BasicLauncherConfig,
}


def check_launcher(settings: DictConfig) -> None:
    """Check the settings of flowlab's launchers; Hydra checks every other launcher."""
    for kind in LAUNCHERS.values():
        if find_target(settings, "launcher") == kind._target_:
            launcher: dict = OmegaConf.to_container(settings.launcher)  # type: ignore[assignment]
            as_typed(kind, launcher, "hydra.launcher.")


def check_engine(settings: DictConfig) -> None:
    """Raise ConfigError if the extra of a launcher or a sweeper is not installed, or the machine has no Slurm."""
    for part in ("launcher", "sweeper"):
        package = next((name for name in EXTRAS if name in find_target(settings, part).split(".")), None)
        chosen = f"hydra/{part}={settings.runtime.choices[f'hydra/{part}']}"
        if package and find_spec(f"hydra_plugins.{package}") is None:
            raise ConfigError(f"{chosen}: this extra is not installed; in a clone of flowlab, run {EXTRAS[package]}")
        if package == "hydra_submitit_launcher" and not shutil.which("sbatch"):
            raise ConfigError(
                f"{chosen}: there is no Slurm on this machine, as sbatch is not found; use another launcher"
            )
    for key in ("max_batch_size", "n_trials", "n_jobs"):
        most = settings.sweeper.get(key, 1)
        if most is not None and not (isinstance(most, int) and most >= 1):
            raise ConfigError(f"hydra.sweeper.{key}={most}: must be a whole number of at least 1")


def find_target(settings: DictConfig, part: str) -> str:
    """The name of the class of the launcher or the sweeper; raise ConfigError if the node is not one of a plugin."""
    node = settings[part]
    target = str(node.get("_target_")) if isinstance(node, DictConfig) else ""
    if not target.startswith(PLUGINS):
        raise ConfigError(f"hydra.{part}={node}: is no {part}; choose one by hydra/{part}=...")
    return target


def runs_elsewhere(settings: DictConfig) -> bool:
    """Whether the jobs may run on other machines."""
    return any(package in str(settings.launcher._target_) for package in ("hydra_ray_", "hydra_submitit_"))


def is_search(settings: DictConfig) -> bool:
    """Whether the sweeper chooses each job by the results of others, so the jobs are not known in advance."""
    return not str(settings.sweeper._target_).startswith("hydra._internal.core_plugins.basic_sweeper.")


def continue_search(settings: DictConfig) -> list[str]:
    """Overrides of a search that continues stored trials: another seed, or it would repeat the first trials."""
    storage, study, seed = (
        OmegaConf.select(settings.sweeper, key) for key in ("storage", "study_name", "sampler.seed")
    )
    if storage is None or study is None or seed is None:
        return []
    import optuna

    try:
        trials = len(optuna.load_study(study_name=study, storage=storage).trials)
    except KeyError:  # there is no such study yet
        return []
    except Exception as error:  # a database may raise anything
        raise ConfigError(f"hydra.sweeper.storage={storage}: cannot be used: {error}".splitlines()[0]) from None
    return [f"hydra.sweeper.sampler.seed={seed + trials}"]


def list_bounds(overrides: Sequence[Override]) -> list[list[str]]:
    """Possible jobs of a search: together they have both ends of every interval, and every value of each list.

    Example:
        >>> from flowlab.config.compose import parse_overrides
        >>> from flowlab.cli.engines import list_bounds
        >>> list_bounds(parse_overrides(["flow.depth=int(interval(1,8))", "flow.rank=0,1,2"]))
        [['flow.depth=1', 'flow.rank=0'], ['flow.depth=8', 'flow.rank=1'], ['flow.depth=1', 'flow.rank=2']]
    """
    if zipped := next((o for o in overrides if find_axis(o) != o.get_key_element()), None):
        raise ConfigError(f"{zipped.input_line}: a search chooses each key by itself; leave out the tag")
    words = [_list_words(override) for override in overrides]
    count = max(map(len, words), default=1)
    return [[choices[job % len(choices)] for choices in words if choices] for job in range(count)]


def _list_words(override: Override) -> list[str]:
    value, key = override.value(), override.get_key_element()
    if isinstance(value, IntervalSweep):
        return [f"{key}={value.start}", f"{key}={value.end}"]
    if override.is_sweep_override():
        return [f"{key}={each}" for each in override.sweep_string_iterator()]
    return [str(override.input_line)]
