"""The command line: `flowlab-train`, which is also `python experiments/train.py`.

Every job is checked before anything is written. Exit status: 0 all done, 1 a run failed, 2 the user's mistake,
130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowlab.config import SECRET_NAME, compose_yaml, conf_directory, parse_overrides, to_config
from flowlab.engines import bounds_of_search, check_engine, searches
from flowlab.schemas import Config, ConfigError

if TYPE_CHECKING:
    from flowlab.training.directory import Run

SWEEPING = ("sweep", "hydra/launcher", "hydra/sweeper")  # what means nothing to a single run

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130

USAGE = """\
flowlab-train: train a normalizing flow into a run directory

  flowlab-train                                  the default run: Jang's banana
  flowlab-train experiment=NAME KEY=VALUE ...    another experiment, other values
  flowlab-train -m seed=0,1 flow.depth=2,4       every combination, one run each
  flowlab-train resume=RUN_DIR                   go on with a run that was stopped
  flowlab-train hydra.run.dir=RUN_DIR            choose the run directory
  flowlab-train --cfg job                        print the configuration and stop

Groups and their options:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line, given without the program's name; gives the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in (["-h"], ["--help"]):
        print(USAGE + _options_of_groups())
        return OK
    try:
        resumed = [word for word in arguments if word.startswith("resume=")]
        if resumed:
            return _resume(resumed, arguments)
        parser = get_args_parser()
        parser.allow_abbrev = False
        parsed = parser.parse_args(arguments)
        for flag in ("config_name", "config_path", "config_dir", "experimental_rerun"):
            if getattr(parsed, flag):
                raise ConfigError(f"--{flag.replace('_', '-')}: the configuration is flowlab's own; override its keys")
        if (parsed.cfg and parsed.multirun) or (parsed.resolve and not parsed.cfg):
            raise ConfigError("--cfg shows one configuration: it goes with --resolve, but not with -m")
        sweeping = [o for o in parse_overrides(parsed.overrides) if o.key_or_group in SWEEPING]
        if sweeping and not parsed.multirun:
            raise ConfigError(f"{sweeping[0].key_or_group}={sweeping[0].value()}: a sweep needs -m")
        if any((parsed.cfg, parsed.info, parsed.hydra_help, parsed.shell_completion)):
            compose_yaml(expand(parsed.overrides)[0])
            return _through_hydra(arguments)
        jobs = expand(parsed.overrides) if parsed.multirun else [list(parsed.overrides)]
        root, directories = _check_jobs(jobs, parsed.multirun)
        # The time in a directory's name is taken once: what was checked is what Hydra makes.
        key = "hydra.sweep.dir" if parsed.multirun else "hydra.run.dir"
        words = [word for word in arguments if not word.startswith(f"{key}=")]
        escaped = str(root).replace("'", "\\'")
        status = _through_hydra([*words, f"{key}='{escaped}'"])
        return status if status != OK else _status(directories or _begun(root), parsed.multirun)
    except ConfigError as error:
        print(f"flowlab: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt as stopped:
        print(f"flowlab: interrupted; go on with {stopped or 'resume=RUN_DIR'}", file=sys.stderr)
        return INTERRUPTED


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The jobs of a sweep, each as its own overrides, in Hydra's order; of a search, jobs at the bounds of its space.

    Raises:
        ConfigError: an override that cannot be parsed, whose values cannot be listed, or an engine that is not there.

    Example:
        >>> from flowlab.cli import expand
        >>> expand(["seed=0,1", "flow.depth=4"])
        [['seed=0', 'flow.depth=4'], ['seed=1', 'flow.depth=4']]
    """
    parsed = parse_overrides(overrides)
    fixed = [word for word, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
    settings = compose_yaml(fixed, hydra_settings=True).hydra
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
            batches = BasicSweeper.split_arguments(list(swept.values()), max_batch_size=None)
        except HydraException as error:
            raise ConfigError(str(error)) from None
    return [list(job) for batch in batches for job in batch]


def _check_jobs(jobs: list[list[str]], multirun: bool) -> tuple[Path, list[Path]]:
    """Compose and check every job, down to the target's file, before the first one starts.

    Gives the directory of all, and that of each; those of a search come to be known at its end.
    """
    if not jobs:
        raise ConfigError("the sweep expands to no job: a key was given no value")
    composed: list[DictConfig] = []
    for number, job in enumerate(jobs):
        secrets = [word.partition("=")[0] for word in job if SECRET_NAME.search(word.partition("=")[0])]
        if secrets:
            raise ConfigError(f"{secrets[0]}: a secret does not belong on a command line; set an environment variable")
        composed.append(compose_yaml(job, hydra_settings=True))
        OmegaConf.update(composed[-1], "hydra.job.num", number, force_add=True)
    # What needs no torch comes first, so that most mistakes are answered at once.
    with _naming(jobs, multirun) as at:
        configs = [to_config(composed[number]) for number in at]
    from flowlab.training.check import check_run
    from flowlab.training.directory import check_directory

    directories: dict[Path, int] = {}
    sweep: Path | None = None  # as the first job has it: the time in its name differs from one composition to the next
    with _naming(jobs, multirun) as at:
        for number in at:
            check_run(configs[number])
            directory, sweep = _directory(composed[number], multirun, sweep)
            try:
                check_directory(directory)
            except OSError as error:
                raise ConfigError(f"{directory}: cannot be made: {error.strerror}") from None
            if directory in directories:
                raise ConfigError(f"{directory}: is the directory of job {directories[directory]} already")
            directories[directory] = number
    for directory in directories:
        _make(directory)
    known = [] if multirun and searches(composed[0].hydra) else list(directories)
    return (sweep if multirun and sweep else directory), known


@contextlib.contextmanager
def _naming(jobs: list[list[str]], multirun: bool) -> Iterator[Iterator[int]]:
    """Numbers of the jobs to go through; a mistake in one of a sweep is said to be that job's."""
    at = 0

    def through() -> Iterator[int]:
        nonlocal at
        for number in range(len(jobs)):
            at = number
            yield number

    try:
        yield through()
    except ConfigError as error:
        raise ConfigError(f"job {at} ({' '.join(jobs[at])}): {error}" if multirun else str(error)) from None


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


def _through_hydra(arguments: list[str]) -> int:
    """Let Hydra make the directories and start the jobs; a job that fails does not stop the others."""
    import hydra

    mistakes: list[int] = []
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    command = [before[0], *arguments]

    def job(composed: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig

        sys.argv = command  # for the run's provenance: a process of Slurm's or Ray's has words of its own
        settings = HydraConfig.get()
        sweep = settings.sweep.dir if settings.mode is not None and settings.mode.name == "MULTIRUN" else None
        status = _run_job(to_config(composed), settings.runtime.output_dir, sweep)
        mistakes.extend([status] if status == MISTAKE else [])
        return objective(settings.runtime.output_dir) if status == OK else None

    sys.argv = command
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what an engine fails of comes here, where one line is made of it
    try:
        hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")(job)()
    except Exception as error:
        if full:
            raise
        print(f"flowlab: failed: {type(error).__name__}: {str(error).strip()}", file=sys.stderr)
        print("flowlab: for the traceback set HYDRA_FULL_ERROR=1", file=sys.stderr)
        return FAILED
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        os.environ.update({"HYDRA_FULL_ERROR": full} if full else {})
    return max(mistakes, default=OK)


def _status(directories: list[Path], multirun: bool) -> int:
    """What the directories of the jobs say of how they ended; the failures of a sweep are listed at its end."""
    from flowlab.training.directory import load_run

    failed = [run for run in map(load_run, directories) if run.status.get("status") != "done"]
    for run in failed if multirun else []:
        print(f"flowlab: {run.status.get('status')}: {run.directory}: {run.status.get('error')}", file=sys.stderr)
    return FAILED if failed else OK


def objective(directory: str | Path) -> float | None:
    """What a search minimises: the kl of a run, or its nll where there is none; None of a run that is not done."""
    from flowlab.training.directory import load_run

    result = load_run(directory).result
    return result.get("nll") if result.get("kl") is None else result["kl"]


def _begun(root: Path) -> list[Path]:
    """The runs below a directory, in the order of their numbers."""
    return sorted((path.parent for path in root.rglob("status.json")), key=lambda path: (len(path.name), path.name))


def _run_job(config: Config, directory: str, sweep: str | None) -> int:
    from flowlab.training.run import train

    return _report(lambda: train(config, directory, group=Path(sweep).name if sweep else None), directory)


def _resume(resumed: list[str], arguments: list[str]) -> int:
    others = [word for word in arguments if word not in resumed]
    if others or len(resumed) > 1:
        culprit = (others or resumed)[-1]
        raise ConfigError(f"{culprit}: resume=RUN_DIR stands alone: a run goes on with the configuration it began with")
    directory = resumed[0].removeprefix("resume=")
    from flowlab.training.run import resume

    return _report(lambda: resume(directory), directory)


def _report(start: Callable[[], Run], directory: str) -> int:
    """Start a run, print how it ended, and give the exit status that this means."""
    try:
        run = start()
    except ConfigError as error:
        print(f"flowlab: {error}", file=sys.stderr)
        return MISTAKE
    except Exception as error:
        print(f"flowlab: failed: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"flowlab: the traceback is in {directory}/status.json", file=sys.stderr)
        return FAILED
    print(last_line(run))
    return OK


def last_line(run: Run) -> str:
    """What a run came to: kl where it is known, nll with its standard error, and the directory."""
    result, shown = run.result, run.directory
    shown = shown.relative_to(Path.cwd()) if shown.is_relative_to(Path.cwd()) else shown
    numbers = [f"kl={result['kl']:.4f}"] if result.get("kl") is not None else []
    numbers += [f"nll={result['nll']:.4f}+-{result['nll_se']:.4f}"]
    return f"{' '.join(numbers)} nats  {shown}"


def _options_of_groups() -> str:
    groups = sorted({path.parent for path in conf_directory().rglob("*/*.yaml")})
    return "\n".join(
        f"  {group.relative_to(conf_directory()).as_posix():<14} "
        f"{', '.join(sorted(option.stem for option in group.glob('*.yaml')))}"
        for group in groups
    )


if __name__ == "__main__":
    sys.exit(main())
