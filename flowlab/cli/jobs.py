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

from flowlab.cli.directories import check_can_be_made, find_directory, given, make_errors, resolve_errors
from flowlab.cli.engines import bounds_of_search, check_engine, searches, target_of
from flowlab.config.aliases import renamed_words
from flowlab.config.compose import compose_yaml, conf_directory, parse_overrides, to_config
from flowlab.config.errors import ConfigError
from flowlab.config.overrides import store_added
from flowlab.config.schema import Config, StackedLauncherConfig
from flowlab.config.typed import as_typed
from flowlab.system.process import pause_garbage_collection

if TYPE_CHECKING:
    from flowlab.training.build import Experiment

# Every job is composed and checked before the first one starts, which takes some 40 ms each.
MOST_JOBS = 10_000


@dataclass
class Job:
    """One run that a command line asks for.

    Attributes:
        overrides: its own, without those that Hydra would take for a sweep.
        config: its configuration.
        directory: its run directory.
        experiment: the objects of its configuration, for a single run.
    """

    overrides: list[str]
    config: Config
    directory: Path
    experiment: Experiment | None = field(default=None, compare=False)


def hydra_settings(overrides: Sequence[str]) -> DictConfig:
    """Hydra's own settings for a sweep, as they are before its jobs differ.

    Raises:
        ConfigError: an override that cannot be parsed, or an unknown key or option.
    """
    overrides = renamed_words(overrides)
    parsed = parse_overrides(overrides)
    store_added(parsed)
    for override in parsed:
        if override.is_sweep_override() and override.key_or_group.startswith(("hydra.", "hydra/")):
            raise ConfigError(f"{override.key_or_group}: must have one value; a comma must stand in quotes")
    fixed = [word for word, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
    settings = compose_yaml(fixed, hydra_settings=True).hydra
    with resolve_errors("hydra.sweep.dir"):
        settings.sweep.dir = given("hydra.sweep.dir", str(settings.sweep.dir))  # the time in its name is taken here
    return settings


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The jobs of a sweep, each as its own overrides, in Hydra's order; of a search, jobs at the bounds of its space.

    Raises:
        ConfigError: an override that cannot be parsed, whose values cannot be listed, or an engine that is not there.

    Example:
        >>> from flowlab.cli.jobs import expand
        >>> expand(["seed=0,1", "flow.depth=4"])
        [['seed=0', 'flow.depth=4'], ['seed=1', 'flow.depth=4']]
    """
    overrides = renamed_words(overrides)
    settings = hydra_settings(overrides)
    check_engine(settings)
    # A named sweep (+sweep=...) brings its own values; the command line comes after it and wins.
    named = [f"{key}={value}" for key, value in (settings.sweeper.get("params") or {}).items()]
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_directory())):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        try:
            swept = {override.get_key_element(): override for override in parser.parse_overrides(named)}
            swept |= {o.get_key_element(): o for o in parser.parse_overrides(list(overrides))}
            if searches(settings):
                return bounds_of_search(list(swept.values()))
            _check_count(list(swept.values()))
            batches = BasicSweeper.split_arguments(list(swept.values()), max_batch_size=None)
        except HydraException as error:
            raise ConfigError(str(error)) from None
    return [list(job) for batch in batches for job in batch]


def _check_count(overrides: list[Override]) -> None:
    """Refuse a sweep of no job, or of more than can be looked after, before its jobs are listed."""
    counts = {o.get_key_element(): _count(o) for o in overrides if o.is_sweep_override()}
    empty = [key for key, count in counts.items() if count < 1]
    if empty:
        raise ConfigError(f"{empty[0]}: the sweep expands to no job: this key was given no value")
    jobs = math.prod(counts.values())
    if jobs > MOST_JOBS:
        raise ConfigError(
            f"{', '.join(counts)}: would be a sweep of {jobs:,.0f} jobs; at most {MOST_JOBS:,} go into one: split it"
        )


def _count(override: Override) -> float:
    """How many values a key is given; a range is not listed for that, since it may be without end."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        raise ConfigError(f"{override.input_line}: an INTERVAL is for a search, as +sweep=search; a sweep takes a list")
    if not isinstance(value, RangeSweep):
        return sum(1 for _ in override.sweep_iterator())
    if not value.step or not math.isfinite(value.step):
        raise ConfigError(f"{override.input_line}: the step of a range must be a finite number and not 0")
    count = (float(value.stop or 0) - float(value.start or 0)) / value.step
    return math.ceil(count) if math.isfinite(count) else math.inf


def job(words: Sequence[str], number: int, sweep: Path | None, compose: Callable[[Sequence[str]], DictConfig]) -> Job:
    """A job, composed and checked against the types; what is known of it is not composed a second time.

    Arguments:
        words: its overrides.
        number: of the job.
        sweep: the directory of its sweep; None for a single run.
        compose: gives what Hydra composes of the overrides, with Hydra's settings.

    Raises:
        ConfigError: a mistake in the configuration, or a setting of Hydra that gets in the way of a run directory.
    """
    own = tuple(word for word in words if not word.startswith(("hydra.", "hydra/")))  # Hydra's are not the job's
    if (own, number, sweep) not in _known:
        composed = compose(words)
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
        if target_of(composed.hydra, "launcher") == StackedLauncherConfig._target_:
            launcher = OmegaConf.to_container(composed.hydra.launcher)
            as_typed(StackedLauncherConfig, launcher, "hydra.launcher.")  # type: ignore[arg-type]
        _known[own, number, sweep] = Job(list(own), to_config(composed), find_directory(composed, sweep))
    return _known[own, number, sweep]


_known: dict[tuple[tuple[str, ...], int, Path | None], Job] = {}


def check_jobs(overrides: list[list[str]], sweep: Path | None, here: bool = True) -> list[Job]:
    """Compose and check every job, down to the target's file.

    Arguments:
        overrides: of each job.
        sweep: the directory of the sweep; None for a single run.
        here: they will run on this machine; otherwise, what it has is no matter.

    Raises:
        ConfigError: no job, or one that cannot be run.
    """
    if not overrides:
        raise ConfigError("the sweep expands to no job: a key was given no value")
    _known.clear()  # of an earlier command in this process
    # What needs no torch comes first, so that most mistakes are answered at once.
    jobs: list[Job] = []
    with _naming(overrides, sweep) as numbers:
        for number in numbers:
            jobs.append(job(overrides[number], number, sweep, partial(compose_yaml, hydra_settings=True)))
            trainer = jobs[-1].config.trainer
            if sweep and trainer.launcher != "flowlab":
                raise ConfigError(
                    f"trainer.launcher={trainer.launcher}: is for a single run; in a sweep each job starts "
                    "processes of its own: trainer=ddp, or trainer=ddp_cpu"
                )
    with pause_garbage_collection():
        import flowlab.training.train  # noqa: F401  the jobs will need it
        from flowlab.training.build import build, check

    targets: dict = {}
    with _naming(overrides, sweep) as numbers:
        for number in numbers:
            if sweep is None:
                jobs[number].experiment = build(jobs[number].config, here)
            else:
                check(jobs[number].config, here, targets)
    return jobs


def check_distinct(jobs: list[Job], sweep: Path) -> None:
    """See that every job of a sweep is another one, in another directory.

    Raises:
        ConfigError: two are the same.
    """
    with _naming([job.overrides for job in jobs], sweep) as numbers:
        for number in numbers:
            for other, before in enumerate(jobs[:number]):
                if jobs[number].config == before.config:
                    raise ConfigError(f"is the same as job {other} ({' '.join(before.overrides)}); name each once")
                if jobs[number].directory == before.directory:
                    raise ConfigError(f"{before.directory}: is the directory of job {other} already")


def check_new(jobs: list[Job], sweep: Path | None) -> None:
    """See that every directory can be made and holds nothing yet; leaves no trace of it.

    Raises:
        ConfigError: one that cannot be made, or that holds something.
    """
    from flowlab.runs.begin import check_directory

    with _naming([job.overrides for job in jobs], sweep) as numbers:
        for number in numbers:
            directory = jobs[number].directory
            with make_errors(directory):
                check_directory(directory)
            check_can_be_made(directory)


@contextlib.contextmanager
def _naming(overrides: list[list[str]], sweep: Path | None) -> Iterator[Iterator[int]]:
    """Numbers of the jobs to go through; a mistake in one of a sweep is said to be that job's."""
    at = 0

    def through() -> Iterator[int]:
        nonlocal at
        for number in range(len(overrides)):
            at = number
            yield number

    try:
        yield through()
    except ConfigError as error:
        shown = " ".join(word for word in overrides[at] if not word.startswith("hydra.sweep.dir="))
        raise ConfigError(f"job {at} ({shown}): {error}" if sweep else str(error)) from None
