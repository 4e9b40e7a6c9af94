"""The command line: `flowlab-train`, which is also `python experiments/train.py`.

Every job is checked before anything is written. Exit status: 0 all done, 1 a run failed, 2 the user's mistake,
130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from flowlab.config import Config, ConfigError, compose_yaml, conf_directory, parse_overrides, to_config

if TYPE_CHECKING:
    from flowlab.training.run import Run

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
        parsed = get_args_parser().parse_args(arguments)
        jobs = expand(parsed.overrides) if parsed.multirun else [parsed.overrides]
        if any((parsed.cfg, parsed.info, parsed.hydra_help, parsed.shell_completion)):
            compose_yaml(jobs[0])
        else:
            _check_jobs(jobs, parsed.multirun)
        return _through_hydra(arguments)
    except ConfigError as error:
        print(f"flowlab: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("flowlab: interrupted; go on with resume=RUN_DIR", file=sys.stderr)
        return INTERRUPTED


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The jobs of a sweep, each as its own overrides, in Hydra's order.

    Raises:
        ConfigError: an override that cannot be parsed.

    Example:
        >>> from flowlab.cli import expand
        >>> expand(["seed=0,1", "flow.depth=4"])
        [['seed=0', 'flow.depth=4'], ['seed=1', 'flow.depth=4']]
    """
    batches = BasicSweeper.split_arguments(parse_overrides(overrides), max_batch_size=None)
    return [list(job) for batch in batches for job in batch]


def _check_jobs(jobs: list[list[str]], multirun: bool) -> None:
    """Compose and check every job, down to the target's file, before the first one starts."""
    from flowlab.training.run import check_directory, check_run

    if not jobs:
        raise ConfigError("the sweep expands to no job: a key was given no value")
    for number, job in enumerate(jobs):
        composed = compose_yaml(job, hydra_settings=True)
        directories = composed.hydra
        OmegaConf.update(composed, "hydra.job.num", number, force_add=True)
        config = to_config(composed)
        try:
            check_run(config)
        except ConfigError as error:
            raise ConfigError(f"job {number} ({' '.join(job)}): {error}" if multirun else str(error)) from None
        sweep_job = Path(str(directories.sweep.dir)) / str(directories.sweep.subdir)
        check_directory(sweep_job if multirun else Path(str(directories.run.dir)))


def _through_hydra(arguments: list[str]) -> int:
    """Let Hydra make the directories and start the jobs; a job that fails does not stop the others."""
    import hydra

    outcomes: list[int] = []

    def job(composed: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        settings = HydraConfig.get()
        sweep = settings.sweep.dir if settings.mode is not None and settings.mode.name == "MULTIRUN" else None
        outcomes.append(_run_job(to_config(composed), settings.runtime.output_dir, sweep))

    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")(job)()
    finally:
        sys.argv = before
    return max(outcomes, default=OK)


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
    """Start a run and print how it ended; only the user's mistakes are left to the caller."""
    try:
        run = start()
    except ConfigError:
        raise
    except Exception as error:
        print(f"flowlab: failed: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"flowlab: the traceback is in {directory}/status.json", file=sys.stderr)
        return FAILED
    print(_last_line(run.result, directory))
    return OK


def _last_line(result: dict[str, Any], directory: str) -> str:
    shown = Path(directory)
    shown = shown.relative_to(Path.cwd()) if shown.is_relative_to(Path.cwd()) else shown
    numbers = [f"kl={result['kl']:.4f}"] if "kl" in result else []
    numbers += [f"nll={result['nll']:.4f}+-{result['nll_se']:.4f}"]
    return f"{' '.join(numbers)} nats  {shown}"


def _options_of_groups() -> str:
    groups = sorted(path for path in conf_directory().iterdir() if path.is_dir())
    return "\n".join(
        f"  {group.name:<10} {', '.join(sorted(option.stem for option in group.glob('*.yaml')))}" for group in groups
    )


if __name__ == "__main__":
    sys.exit(main())
