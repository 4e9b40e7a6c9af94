"""The jobs of a command line: expanded, composed and checked before the first one starts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from flowlab.cli.directories import (
    check_can_be_made,
    check_directory_name,
    find_directory,
    name_directory_in_errors,
    name_key_in_errors,
)
from flowlab.cli.engines import check_engine, find_target, is_search, list_bounds
from flowlab.config.aliases import rename_words
from flowlab.config.compose import compose_yaml, to_config
from flowlab.config.errors import ConfigError
from flowlab.config.overrides import conf_directory, parse_overrides, store_added
from flowlab.config.schema import Config, StackedLauncherConfig
from flowlab.config.typed import as_typed
from flowlab.system.process import pause_garbage_collection

if TYPE_CHECKING:
    from flowlab.training.build import Experiment

# Every job is composed and checked before the first one starts, at about 40 ms a job.
MAX_JOBS = 10_000


@dataclass
class Job:
    """One run that a command line asks for.

    Attributes:
        overrides: its overrides, without Hydra's settings.
        config: its configuration.
        directory: its run directory.
        experiment: the objects of its configuration; a single run has them, a job of a sweep does not.
    """

    overrides: list[str]
    config: Config
    directory: Path
    experiment: Experiment | None = field(default=None, compare=False)


def hydra_settings(overrides: Sequence[str]) -> DictConfig:
    """Hydra's settings that the jobs of a sweep share.

    Raises:
        ConfigError: an override cannot be parsed, or a key or an option is unknown.
    """
    overrides = rename_words(overrides)
    parsed = parse_overrides(overrides)
    store_added(parsed)
    for override in parsed:
        if override.is_sweep_override() and override.key_or_group.startswith(("hydra.", "hydra/")):
            raise ConfigError(f"{override.key_or_group}: must have one value; put a comma in quotes")
    fixed = [word for word, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
    settings = compose_yaml(fixed, hydra_settings=True).hydra
    with name_key_in_errors("hydra.sweep.dir"):
        settings.sweep.dir = check_directory_name("hydra.sweep.dir", str(settings.sweep.dir))
    return settings


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Expand a sweep into the overrides of each job, in Hydra's order.

    The jobs of a search are not known yet; it gives jobs at the bounds of its space.

    Raises:
        ConfigError: an override cannot be parsed, its values cannot be listed, or an engine is not installed.

    Example:
        >>> from flowlab.cli.jobs import expand
        >>> expand(["seed=0,1", "flow.depth=4"])
        [['seed=0', 'flow.depth=4'], ['seed=1', 'flow.depth=4']]
    """
    overrides = rename_words(overrides)
    settings = hydra_settings(overrides)
    check_engine(settings)
    # A named sweep (+sweep=...) brings its own values; the command line comes after it and wins.
    named = [f"{key}={value}" for key, value in (settings.sweeper.get("params") or {}).items()]
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_directory())):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        try:
            swept = {override.get_key_element(): override for override in parser.parse_overrides(named)}
            swept |= {o.get_key_element(): o for o in parser.parse_overrides(list(overrides))}
            if is_search(settings):
                return list_bounds(list(swept.values()))
            _check_count(list(swept.values()))
            batches = BasicSweeper.split_arguments(list(swept.values()), max_batch_size=None)
        except HydraException as error:
            raise ConfigError(str(error)) from None
    return [list(job) for batch in batches for job in batch]


def _check_count(overrides: list[Override]) -> None:
    """Refuse a sweep without jobs, or with more than MAX_JOBS, before its jobs are listed."""
    counts = {o.get_key_element(): _count(o) for o in overrides if o.is_sweep_override()}
    empty = [key for key, count in counts.items() if count < 1]
    if empty:
        raise ConfigError(f"{empty[0]}: the sweep expands to no job: this key was given no value")
    jobs = math.prod(counts.values())
    if jobs > MAX_JOBS:
        raise ConfigError(
            f"{', '.join(counts)}: would be a sweep of {jobs:,.0f} jobs; at most {MAX_JOBS:,} are "
            "allowed: split the sweep"
        )


def _count(override: Override) -> float:
    """Count the values of a key without listing a range, which may be endless."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        raise ConfigError(f"{override.input_line}: an INTERVAL needs a search, as +sweep=search; give a sweep a list")
    if not isinstance(value, RangeSweep):
        return sum(1 for _ in override.sweep_iterator())
    if not value.step or not math.isfinite(value.step):
        raise ConfigError(f"{override.input_line}: the step of a range must be a finite number and not 0")
    count = (float(value.stop or 0) - float(value.start or 0)) / value.step
    return math.ceil(count) if math.isfinite(count) else math.inf


def compose_job(
    words: Sequence[str], number: int, sweep: Path | None, compose: Callable[[Sequence[str]], DictConfig]
) -> Job:
    """Compose a job and check its types; a job that is known already is not composed again.

    Arguments:
        words: its overrides.
        number: its number in the sweep.
        sweep: the directory of its sweep; None for a single run.
        compose: composes overrides by Hydra, with Hydra's settings.

    Raises:
        ConfigError: a mistake in the configuration, or a setting of Hydra that conflicts with a run directory.
    """
    own = tuple(
        word for word in words if not word.startswith(("hydra.", "hydra/"))
    )  # Hydra's settings do not belong to the job
    if (own, number, sweep) not in _known:
        composed = compose(words)
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
        if find_target(composed.hydra, "launcher") == StackedLauncherConfig._target_:
            launcher = OmegaConf.to_container(composed.hydra.launcher)
            as_typed(StackedLauncherConfig, launcher, "hydra.launcher.")  # type: ignore[arg-type]
        _known[own, number, sweep] = Job(list(own), to_config(composed), find_directory(composed, sweep))
    return _known[own, number, sweep]


_known: dict[tuple[tuple[str, ...], int, Path | None], Job] = {}


def check_jobs(overrides: list[list[str]], sweep: Path | None, here: bool = True) -> list[Job]:
    """Compose and check every job, down to the target's file.

    Arguments:
        overrides: the overrides of each job.
        sweep: the directory of the sweep; None for a single run.
        here: the jobs will run on this machine, so check that it can run them.

    Raises:
        ConfigError: there is no job, or a job cannot run.
    """
    if not overrides:
        raise ConfigError("the sweep expands to no job: a key was given no value")
    _known.clear()  # jobs of an earlier command in this process
    # Checks without torch come first, so most mistakes are answered at once.
    jobs: list[Job] = []
    with _name_job_in_errors(overrides, sweep) as numbers:
        for number in numbers:
            jobs.append(compose_job(overrides[number], number, sweep, partial(compose_yaml, hydra_settings=True)))
            trainer = jobs[-1].config.trainer
            if sweep and trainer.launcher != "flowlab":
                raise ConfigError(
                    f"trainer.launcher={trainer.launcher}: is for a single run; in a sweep each job starts its "
                    "own processes: use trainer=ddp or trainer=ddp_cpu"
                )
    with pause_garbage_collection():
        import flowlab.training.train  # noqa: F401  the jobs need it
        from flowlab.training.build import build, check

    targets: dict = {}
    with _name_job_in_errors(overrides, sweep) as numbers:
        for number in numbers:
            if sweep is None:
                jobs[number].experiment = build(jobs[number].config, here)
            else:
                check(jobs[number].config, here, targets)
    return jobs


def check_distinct(jobs: list[Job], sweep: Path) -> None:
    """Check that no two jobs of a sweep have the same configuration or directory.

    Raises:
        ConfigError: two jobs do.
    """
    with _name_job_in_errors([job.overrides for job in jobs], sweep) as numbers:
        for number in numbers:
            for other, before in enumerate(jobs[:number]):
                if jobs[number].config == before.config:
                    raise ConfigError(
                        f"is the same as job {other} ({' '.join(before.overrides)}); give each value once"
                    )
                if jobs[number].directory == before.directory:
                    raise ConfigError(f"{before.directory}: is the directory of job {other} too; give each its own")


def check_new(jobs: list[Job], sweep: Path | None) -> None:
    """Check that every run directory can be made and is empty, without leaving a trace.

    Raises:
        ConfigError: a directory cannot be made, or is not empty.
    """
    from flowlab.runs.begin import check_directory

    with _name_job_in_errors([job.overrides for job in jobs], sweep) as numbers:
        for number in numbers:
            directory = jobs[number].directory
            with name_directory_in_errors(directory):
                check_directory(directory)
            check_can_be_made(directory)


@contextlib.contextmanager
def _name_job_in_errors(overrides: list[list[str]], sweep: Path | None) -> Iterator[Iterator[int]]:
    """Iterate over the numbers of jobs; an error in a sweep then names the job."""
    at = 0

    def iterate() -> Iterator[int]:
        nonlocal at
        for number in range(len(overrides)):
            at = number
            yield number

    try:
        yield iterate()
    except ConfigError as error:
        shown = " ".join(word for word in overrides[at] if not word.startswith("hydra.sweep.dir="))
        raise ConfigError(f"job {at} ({shown}): {error}" if sweep else str(error)) from None
