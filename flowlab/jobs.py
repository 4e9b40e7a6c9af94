"""The jobs of a command line: expanded, composed and checked before the first one starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowlab.config import SECRET_NAME, as_typed, compose_yaml, conf_directory, parse_overrides, to_config
from flowlab.schemas import Config, ConfigError, StackedLauncherConfig


@dataclass(frozen=True)
class Job:
    """One run that a command line asks for.

    Attributes:
        overrides: its own, without those that Hydra would take for a sweep.
        config: what they compose to.
        directory: its run directory.
    """

    overrides: list[str]
    config: Config
    directory: Path


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The jobs of a sweep, each as its own overrides, in Hydra's order.

    Raises:
        ConfigError: an override that cannot be parsed, or whose values cannot be listed.

    Example:
        >>> from flowlab.jobs import expand
        >>> expand(["seed=0,1", "flow.depth=4"])
        [['seed=0', 'flow.depth=4'], ['seed=1', 'flow.depth=4']]
    """
    parsed = parse_overrides(overrides)
    fixed = [word for word, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
    settings = compose_yaml(fixed, hydra_settings=True).hydra
    # A named sweep (+sweep=...) brings its own values; the command line comes after it and wins.
    named = [f"{key}={value}" for key, value in (settings.sweeper.get("params") or {}).items()]
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_directory())):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        try:
            swept = {override.get_key_element(): override for override in parser.parse_overrides(named)}
            swept |= {o.get_key_element(): o for o in parser.parse_overrides(list(overrides))}
            batches = BasicSweeper.split_arguments(list(swept.values()), max_batch_size=None)
        except HydraException as error:
            raise ConfigError(str(error)) from None
    return [list(job) for batch in batches for job in batch]


def check_jobs(overrides: list[list[str]], multirun: bool) -> tuple[Path, list[Job]]:
    """Compose and check every job, down to the target's file; gives the directory of all, and the jobs.

    Raises:
        ConfigError: no job, one that cannot be run, or two that are the same.
    """
    if not overrides:
        raise ConfigError("the sweep expands to no job: a key was given no value")
    composed: list[DictConfig] = []
    for number, words in enumerate(overrides):
        secrets = [word.partition("=")[0] for word in words if SECRET_NAME.search(word.partition("=")[0])]
        if secrets:
            raise ConfigError(f"{secrets[0]}: a secret does not belong on a command line; set an environment variable")
        composed.append(compose_yaml(words, hydra_settings=True))
        OmegaConf.update(composed[-1], "hydra.job.num", number, force_add=True)
    if composed[0].hydra.launcher._target_ == StackedLauncherConfig._target_:
        as_typed(StackedLauncherConfig, composed[0].hydra.launcher, "hydra.launcher.")
    # What needs no torch comes first, so that most mistakes are answered at once.
    jobs: list[Job] = []
    sweep: Path | None = None  # as the first job has it: the time in its name differs from one composition to the next
    with _naming(overrides, multirun) as numbers:
        for number in numbers:
            config = to_config(composed[number])
            directory, sweep = _directory(composed[number], multirun, sweep)
            for other, job in enumerate(jobs):
                if config == job.config:
                    raise ConfigError(f"is the same as job {other} ({' '.join(job.overrides)}); name each once")
                if directory == job.directory:
                    raise ConfigError(f"{directory}: is the directory of job {other} already")
            jobs.append(Job(overrides[number], config, directory))
    from flowlab.training.check import check_run

    with _naming(overrides, multirun) as numbers:
        for number in numbers:
            check_run(jobs[number].config)
    return (sweep if multirun and sweep else jobs[0].directory), jobs


def check_new(jobs: list[Job], multirun: bool) -> None:
    """See that every directory can be made and holds nothing yet; leaves no trace of it.

    Raises:
        ConfigError: one that cannot be made, or that holds something.
    """
    from flowlab.training.directory import check_directory

    with _naming([job.overrides for job in jobs], multirun) as numbers:
        for number in numbers:
            directory = jobs[number].directory
            try:
                check_directory(directory)
            except OSError as error:
                raise ConfigError(f"{directory}: cannot be made: {error.strerror}") from None
            _make(directory)


@contextlib.contextmanager
def _naming(overrides: list[list[str]], multirun: bool) -> Iterator[Iterator[int]]:
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
        raise ConfigError(f"job {at} ({' '.join(overrides[at])}): {error}" if multirun else str(error)) from None


def _directory(composed: DictConfig, multirun: bool, sweep: Path | None) -> tuple[Path, Path]:
    """Where Hydra will put a job; also refuses settings of Hydra that get in the way of a run directory."""
    settings = composed.hydra
    if settings.output_subdir is not None or "file" in settings.job_logging.get("handlers", {}):
        raise ConfigError(
            "hydra.output_subdir, hydra/job_logging: Hydra would write into the run directory; leave them"
        )
    if settings.job.chdir:
        raise ConfigError("hydra.job.chdir: a run does not change the working directory; leave it")
    try:
        sweep = sweep or Path(str(settings.sweep.dir))
        return (sweep / str(settings.sweep.subdir) if multirun else Path(str(settings.run.dir))), sweep
    except OmegaConfBaseException as error:
        raise ConfigError(f"hydra.{'sweep' if multirun else 'run'}.dir: {error}".splitlines()[0]) from None


def _make(directory: Path) -> None:
    """See that a directory can be made, and leave no trace of it: Hydra makes it again when the job begins."""
    made = next(parent for parent in (directory, *directory.parents) if parent.exists())
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be made: {error.strerror}") from None
    while directory != made:
        directory.rmdir()
        directory = directory.parent
