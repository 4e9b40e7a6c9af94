"""The command line: `flowlab-train`, which is also `python experiments/train.py`.

Every job is checked before anything is written. Exit status: 0 every run is done, 1 a run failed, 2 a mistake of the
user, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.utils import get_args_parser

from flowlab.cli.command import FAILED, MISTAKE, OK, describe, report_mistakes
from flowlab.cli.engines import continue_search, is_search, runs_elsewhere
from flowlab.cli.jobs import check_directory_name, check_distinct, check_jobs, check_new, expand, hydra_settings
from flowlab.cli.output import last_line, score, usage
from flowlab.cli.product import as_choices
from flowlab.config.compose import compose_yaml, parse_overrides
from flowlab.config.directories import conf_directory, use_directory
from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config, to_config
from flowlab.config.untrusted import check_links, check_replayed, forget_pickles
from flowlab.sweeps.manifest import NAME, Manifest, check_same_data
from flowlab.system.files import WriteError, check_unlocked, lock_directory, read_json
from flowlab.system.process import EXIT_INTERRUPTED, print_line, protect_output

if TYPE_CHECKING:
    from flowlab.runs.directory import Run

SWEEP_GROUPS = ("sweep", "hydra/launcher", "hydra/sweeper")  # groups that belong to a sweep
SWEEP_FILES = ("summary.csv", "figures", ".submitit")  # written beside the runs of a sweep; pickles are read back too


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, the words after the program's name, and return the exit status."""
    with protect_output():
        return _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: list[str]) -> int:
    if "-h" in arguments or "--help" in arguments:
        print(usage())
        return OK
    return report_mistakes(lambda: _run_command(arguments), "continue with resume=RUN_DIR")


def _run_command(arguments: list[str]) -> int:
    if any(word.startswith("resume=") for word in arguments):
        return _resume(arguments)
    parser = get_args_parser()
    parser.allow_abbrev = False
    parsed, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown and not unknown[0].startswith("--"):
        parser.error(f"unrecognized arguments: {unknown[0]}")
    if unknown:
        key = unknown[0].lstrip("-").partition("=")[0]
        raise ConfigError(
            f"{unknown[0]}: no such option; a key has no hyphens before it: {key}=...; a W&B agent leaves them out "
            "with ${args_no_hyphens}"
        )
    words = [word for word in parsed.overrides if not word.startswith("sweep_resume=")]  # a path may hold any character
    with use_directory(parsed.config_dir):
        return _run_parsed(arguments, parsed, words)


def _run_parsed(arguments: list[str], parsed: Any, words: list[str]) -> int:
    for flag in ("config_name", "config_path", "experimental_rerun"):
        if getattr(parsed, flag):
            raise ConfigError(
                f"--{flag.replace('_', '-')}: flowlab has one configuration; override its keys with KEY=VALUE"
            )
    if parsed.run and parsed.multirun:
        raise ConfigError("--run, --multirun: a run or a sweep; give one of the two")
    if parsed.shell_completion:
        raise ConfigError("--shell-completion: not supported; --help lists every group and its options")
    if (parsed.cfg and parsed.multirun) or (parsed.resolve and not parsed.cfg):
        raise ConfigError("--cfg prints one configuration: use it with --resolve, and not with -m")
    for override in () if parsed.multirun else parse_overrides(words):
        if override.key_or_group in SWEEP_GROUPS:
            raise ConfigError(f"{override.key_or_group}={override.value()}: a sweep needs -m; add it")
    if len(words) < len(parsed.overrides) and not parsed.multirun:
        raise ConfigError("sweep_resume=SWEEP_DIR: a sweep needs -m; add it")
    if any((parsed.cfg, parsed.info, parsed.hydra_help)):
        compose_yaml(expand(parsed.overrides)[0])
        try:
            return _run_hydra(arguments)
        except SystemExit as ended:  # Hydra has printed why
            return MISTAKE if ended.code else OK
    if parsed.multirun:
        return _sweep([word for word in arguments if word not in parsed.overrides], parsed.overrides)
    (job,) = check_jobs([list(parsed.overrides)], sweep=None)
    from flowlab.training.resume import complete
    from flowlab.training.train import train_experiment

    experiment, directory = job.experiment, job.directory
    assert experiment is not None
    if job.config.trainer.launcher == "flowlab":
        check_new([job], sweep=None)
        return _report(lambda: train_experiment(experiment, directory), directory)
    # A launcher may start its processes again, so they resume a run that has begun.
    is_rank_zero = _is_rank_zero(job.config)
    return _report(lambda: complete(job.config, directory, experiment=experiment), directory, is_rank_zero)


def _sweep(flags: list[str], words: list[str]) -> int:
    """Train the jobs of a sweep that are not done yet, and summarize the sweep.

    `sweep_resume=SWEEP_DIR` alone means the words that the sweep began with.
    """
    resumed = [word.removeprefix("sweep_resume=") for word in words if word.startswith("sweep_resume=")]
    words = [word for word in words if not word.startswith("sweep_resume=")]
    named = Path(check_directory_name("sweep_resume", resumed[-1])) if resumed else None
    begun = Manifest.read(named) if named and not words else None
    if begun:
        words = begun.words
        check_replayed(begun.directory / NAME, words)
    settings = hydra_settings(words)
    root = named or Path(settings.sweep.dir)
    # The directory as it was checked, with the time that its name had then.
    escaped = str(root).replace("'", "\\'")
    words = [*(word for word in words if not word.startswith("hydra.sweep.dir=")), f"hydra.sweep.dir='{escaped}'"]
    jobs = check_jobs(expand(words, settings), root, here=not runs_elsewhere(settings))
    if begun and (kept := begun.changed_defaults(Manifest.of(root, words, jobs))):  # by another version of flowlab
        words += kept
        jobs = check_jobs(expand(words, settings), root, here=not runs_elsewhere(settings))
    if is_search(settings):
        # Its jobs are not known yet; the bounds of its space were checked.
        if root.exists() and any(root.iterdir()):
            raise ConfigError(
                f"{root}: is not empty; choose another directory; the same hydra.sweeper.storage continues a search"
            )
        jobs = []
    check_distinct(jobs, root)
    manifest = Manifest.of(root, words, jobs)
    if resumed or (root / NAME).is_file():
        from flowlab.runs.directory import Run

        check_links(root)
        forget_pickles(root)
        begun = Manifest.read(root)
        begun.check_same_sweep(manifest)
        manifest = begun
        check_same_data([Run(job.directory, job.config) for job in jobs])
    else:
        check_new(jobs, root)
        if taken := [name for name in SWEEP_FILES if (root / name).exists()]:
            raise ConfigError(f"{root}: holds {taken[0]}, which this sweep would overwrite; choose another directory")
        root.mkdir(parents=True, exist_ok=True)
    # Hydra need not check the jobs again.
    checked = continue_search(settings) if is_search(settings) else ["hydra/sweeper=checked"]
    with lock_directory(root, "working on this sweep"):
        for job in jobs:
            check_unlocked(job.directory)
        try:
            with manifest.timed():
                status = _run_hydra([*flags, *as_choices(words), *checked], root if is_search(settings) else None)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"-m sweep_resume={root}") from None
    if status == MISTAKE or not any(root.glob("*/status.json")):
        return status
    from flowlab.sweeps.summary import summarize

    return max(summarize(root), status)


def _run_hydra(arguments: list[str], search: Path | None = None) -> int:
    """Let Hydra make the directories and start the jobs; a job that fails does not stop the others.

    `search` is the directory of a search, which has no result if none of its runs is done.
    """
    import hydra

    mistakes: list[int] = []
    failures: list[int] = []
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    command = [before[0], *arguments]

    def job(composed: Any) -> float | None:
        from hydra.core.hydra_config import HydraConfig

        sys.argv = command  # for the run's provenance; Slurm and Ray start their processes with other arguments
        settings = HydraConfig.get()
        directory = Path(settings.runtime.output_dir)
        if failures and settings.launcher.get("fail_fast"):
            return None
        sweep = settings.sweep.dir if settings.mode is not None and settings.mode.name == "MULTIRUN" else None
        status = _run_job(to_config(composed), directory, sweep)
        mistakes.extend([status] if status == MISTAKE else [])
        failures.extend([status] if status != OK else [])
        return score(directory)

    sys.argv = command
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so an engine raises its error here, where it becomes one line
    try:
        hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")(job)()
    except Exception as error:
        if full:
            raise
        if search and any(search.glob("*/status.json")) and not any(search.glob("*/result.json")):
            print("flowlab: the search has no best trial, because none of its runs is done", file=sys.stderr)
            return FAILED
        print(f"flowlab: failed: {type(error).__name__}: {describe(error)}", file=sys.stderr)
        print("flowlab: for the traceback set HYDRA_FULL_ERROR=1", file=sys.stderr)
        return FAILED
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        os.environ.update({"HYDRA_FULL_ERROR": full} if full else {})
    return max(mistakes, default=OK)


def _run_job(config: Config, directory: Path, sweep: str | None) -> int:
    """Train a job of a sweep that Hydra has started."""
    from flowlab.training.resume import complete

    with contextlib.suppress(ConfigError):  # for a damaged file, which `complete` reports
        if read_json(directory / "status.json").get("status") == "done":
            return OK
    return _report(lambda: complete(config, directory, group=sweep and Path(sweep).name), directory)


def _is_rank_zero(config: Config) -> bool:
    """Whether this process is rank 0 of its run, or the only process."""
    from flowlab.distributed.cluster import check_started, find_rank

    check_started(config.trainer)
    return find_rank(config.trainer).is_rank_zero


def _resume(arguments: list[str]) -> int:
    """Resume a run: `resume=RUN_DIR`, with settings of the trainer, or more steps."""
    resumed = [word for word in arguments if word.startswith("resume=")]
    others = [word for word in arguments if word not in resumed]
    if len(resumed) > 1:
        raise ConfigError(f"{resumed[-1]}: resume=RUN_DIR resumes one run; give it once")
    directory = check_directory_name("resume", resumed[0].removeprefix("resume="))
    flags = [word for word in others if word.startswith("-")]
    if flags:
        raise ConfigError(
            f"{flags[0]}: resume=RUN_DIR allows trainer=... and trainer.KEY=... alone; leave {flags[0]} out"
        )
    from flowlab.runs.directory import Run, load_run
    from flowlab.runs.resume import relocate
    from flowlab.training.resume import resume_run

    run = load_run(directory)
    run = Run(run.directory, relocate(run.config, others))
    return _report(lambda: resume_run(run), directory, _is_rank_zero(run.config))


def _report(start: Callable[[], Run], directory: str | Path, is_rank_zero: bool = True) -> int:
    """Start a run and print how it ended; return the exit status. Rank 0 alone prints."""
    try:
        run = start()
    except ConfigError as error:
        if is_rank_zero:
            print(f"flowlab: {describe(error)}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        if is_rank_zero:
            raise
        return EXIT_INTERRUPTED
    except WriteError as error:
        print(f"flowlab: {error}", file=sys.stderr)
        return FAILED
    except Exception as error:
        where = f"the traceback is in {directory}/status.json" if is_rank_zero else "on another rank than 0"
        print(f"flowlab: failed: {type(error).__name__}: {describe(error)}\nflowlab: {where}", file=sys.stderr)
        return FAILED
    if is_rank_zero:
        print_line(last_line(run), sys.stdout)
    return OK


if __name__ == "__main__":
    sys.exit(main())
