"""The jobs of a command line: expanded, composed and checked before the first one starts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from flowlab.cli.engines import check_engine, check_launcher, is_search, list_bounds
from flowlab.cli.product import check_count, list_jobs, swept_options
from flowlab.config.compose import compose_yaml, initialize_hydra, parse_overrides, rename_words, store_added
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.schema import ESCAPED, Config, to_config
from flowlab.config.security import check_written
from flowlab.config.siblings import Siblings
from flowlab.system.process import pause_garbage_collection

if TYPE_CHECKING:
    from flowlab.training.build import Experiment


@dataclass
class Job:
    """One run that a command line asks for.

    Attributes:
        overrides: its overrides, without Hydra's settings.
        config, directory: its configuration and its run directory.
        experiment: the objects of its configuration; a single run has them, a job of a sweep does not.
    """

    overrides: list[str]
    config: Config
    directory: Path
    experiment: Experiment | None = field(default=None, compare=False)


def hydra_settings(overrides: Sequence[str]) -> DictConfig:
    """Hydra's settings that the jobs of a sweep share."""
    overrides = rename_words(overrides)
    parsed = parse_overrides(overrides)
    store_added(parsed)
    for override in parsed:
        if override.is_sweep_override() and override.key_or_group.startswith(("hydra.", "hydra/")):
            raise ConfigError(f"{override.key_or_group}: must have one value; put a comma in quotes")
    several = swept_options(parsed)  # a key of one option does not fit the others
    fixed = [
        word
        for word, override in zip(overrides, parsed, strict=True)
        if not override.is_sweep_override() and override.key_or_group.partition(".")[0] not in several
    ]
    settings = compose_yaml(fixed, hydra_settings=True).hydra
    settings.sweep.dir = check_directory_name("hydra.sweep.dir", _read(settings, "sweep.dir"))
    return settings


def expand(overrides: Sequence[str], settings: DictConfig | None = None) -> list[list[str]]:
    """Expand a sweep into the overrides of each job, in Hydra's order.

    The jobs of a search are not known yet; it gives jobs at the bounds of its space. `settings` are the
    `hydra_settings` of the overrides, if they are known.

    Example:
        >>> from flowlab.cli.jobs import expand
        >>> expand(["seed=0,1", "flow.depth=4"])
        [['seed=0', 'flow.depth=4'], ['seed=1', 'flow.depth=4']]
    """
    overrides = rename_words(overrides)
    settings = hydra_settings(overrides) if settings is None else settings
    check_engine(settings)
    # A named sweep (+sweep=...) brings its own values; the command line comes after it and wins.
    named = [f"{key}={value}" for key, value in (settings.sweeper.get("params") or {}).items()]
    with initialize_hydra():
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        try:
            parsed = parser.parse_overrides(named) + parser.parse_overrides(list(overrides))
        except HydraException as error:
            raise ConfigError(str(error)) from None
    swept = list({override.get_key_element(): override for override in parsed}.values())
    if is_search(settings):
        return list_bounds(swept)
    check_count(swept)
    return list_jobs(swept)


def compose_job(
    words: Sequence[str], number: int, sweep: Path | None, compose: Callable[[Sequence[str]], DictConfig]
) -> Job:
    """Compose a job of a sweep, or a single run, and check its types; a known job is not composed again.

    `compose` composes overrides by Hydra, with Hydra's settings.
    """
    own = tuple(word for word in words if not word.startswith(("hydra.", "hydra/")))
    if (own, number, sweep) not in _known:
        composed = compose(words)
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
        check_launcher(composed.hydra)
        _known[own, number, sweep] = Job(list(own), to_config(composed), _find_directory(composed.hydra, sweep))
    return _known[own, number, sweep]


_known: dict[tuple[tuple[str, ...], int, Path | None], Job] = {}


def check_jobs(overrides: list[list[str]], sweep: Path | None, here: bool = True) -> list[Job]:
    """Compose and check every job, down to the target's file; the ConfigError names the first that cannot run.

    Arguments:
        overrides: the overrides of each job.
        sweep: the directory of the sweep; None for a single run.
        here: the jobs will run on this machine.
    """
    if not overrides:
        raise ConfigError("the sweep expands to no job: a key was given no value")
    _known.clear()  # jobs of an earlier command in this process
    # Checks without torch come first, so most mistakes are answered at once.
    jobs: list[Job] = []
    siblings = Siblings()
    for number, words in enumerate(overrides):
        with _name_job_in_errors(number, words, sweep):
            jobs.append(compose_job(words, number, sweep, siblings.compose))
            launcher = jobs[number].config.trainer.launcher
            if sweep and launcher != "flowlab":
                raise ConfigError(
                    f"trainer.launcher={launcher}: is for a single run; in a sweep each job starts its own processes: "
                    "use trainer=ddp or trainer=ddp_cpu"
                )
    with pause_garbage_collection():
        import flowlab.training.resume  # noqa: F401  the jobs need it
        from flowlab.training.build import build, check

    known: dict = {}
    for number, job in enumerate(jobs):
        with _name_job_in_errors(number, overrides[number], sweep):
            if sweep is None:
                job.experiment = build(job.config, here)
            else:
                check(job.config, here, known)
    return jobs


def check_distinct(jobs: list[Job], sweep: Path) -> None:
    """Raise ConfigError if two jobs of a sweep have the same configuration or directory."""
    for number, job in enumerate(jobs):
        with _name_job_in_errors(number, job.overrides, sweep):
            for other, before in enumerate(jobs[:number]):
                if job.config == before.config:
                    raise ConfigError(
                        f"is the same as job {other} ({' '.join(before.overrides)}); give each value once"
                    )
                if job.directory == before.directory:
                    raise ConfigError(f"{job.directory}: is the directory of job {other} too; give each its own")


def check_new(jobs: list[Job], sweep: Path | None) -> None:
    """Raise ConfigError unless every run directory can be made and is empty, without leaving a trace."""
    from flowlab.runs.directory import check_directory

    for number, job in enumerate(jobs):
        with _name_job_in_errors(number, job.overrides, sweep):
            try:
                check_directory(job.directory)
                _make_and_remove(job.directory)
            except ConfigError:
                raise
            except (OSError, ValueError) as error:  # a ValueError: a NUL in the name
                reason = getattr(error, "strerror", error)
                raise ConfigError(f"{job.directory}: cannot be made: {reason}") from None


def _make_and_remove(directory: Path) -> None:
    """Make a directory with its parents, and remove what was made; Hydra makes it when the job begins."""
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    directory.mkdir(parents=True, exist_ok=True)
    while directory != existing:
        directory.rmdir()
        directory = directory.parent


@contextlib.contextmanager
def _name_job_in_errors(number: int, words: Sequence[str], sweep: Path | None) -> Iterator[None]:
    """Name a job of a sweep in the errors of a block."""
    try:
        yield
    except ConfigError as error:
        shown = " ".join(word for word in words if not word.startswith("hydra.sweep.dir="))
        raise ConfigError(f"job {number} ({shown}): {error}" if sweep else str(error)) from None


def check_directory_name(key: str, directory: str) -> str:
    """Give a directory's path; raise ConfigError if it is a secret, an address, or empty: the working directory."""
    check_written(directory, key)
    if not directory.strip():
        raise ConfigError(f"{key}: must be given: {key}=DIR; the working directory is {key}=.")
    return local_path(key, directory)


def _find_directory(settings: DictConfig, sweep: Path | None) -> Path:
    """The directory that Hydra's settings give a job."""
    if not isinstance(settings.verbose, bool | str | ListConfig):
        raise ConfigError(f"hydra.verbose={settings.verbose}: must be true, false or the names of loggers")
    if sweep is None:
        return Path(check_directory_name("hydra.run.dir", _read(settings, "run.dir")))
    if "now:" in str(OmegaConf.to_container(settings.sweep, resolve=False)["subdir"]):  # type: ignore[call-overload,index]
        raise ConfigError(
            "hydra.sweep.subdir: must not hold a time, or a resumed sweep would not find its jobs; leave it out"
        )
    subdir = _read(settings, "sweep.subdir")
    check_written(subdir, "hydra.sweep.subdir")
    if Path(subdir).name != subdir or subdir in ("", ".."):
        raise ConfigError(f"hydra.sweep.subdir={subdir}: must be one name, of a directory in the sweep's directory")
    return sweep / subdir


def _read(settings: DictConfig, key: str) -> str:
    """Read one of Hydra's settings; an interpolation without a value is an error that names the key."""
    try:
        value = str(OmegaConf.select(settings, key, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise ConfigError(f"hydra.{key}: {error}".splitlines()[0]) from None
    if "${" in value:
        raise ConfigError(f"hydra.{key}={value}: {ESCAPED}")
    return value
