"""Resume a run, or do whichever is needed: begin it or resume it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.config.untrusted import check_links
from flowlab.runs.directory import (
    Run,
    begin,
    check_data,
    check_directory,
    load_run,
    provenance,
    with_absolute_paths,
    write_config,
)
from flowlab.runs.record import mark_failed
from flowlab.runs.resume import check_files, check_goes_on, is_same_run, relocate
from flowlab.system.files import lock_directory, remove_parts, write_json
from flowlab.system.process import print_line
from flowlab.training.build import Experiment, build
from flowlab.training.follow_data import fill_from
from flowlab.training.train import join_ranks, run_training


def resume(directory: str | Path, *overrides: str) -> Run:
    """Resume a run that was killed, interrupted or failed, from its last checkpoint.

    The end is the same, bit for bit, as if nothing had happened. The minibatch of a step is a function of the seed and
    the step, and everything else is in the checkpoint. A run that was killed before its first checkpoint starts again.

    Arguments:
        directory: the run directory.
        overrides: where it resumes, as "trainer.devices=4" or "trainer=gpu"; with more or fewer processes the end is
            the same up to rounding. A GPU draws other points than a CPU. A larger "max_steps=20000" trains a run
            longer, also one that is done. It takes the learning rate of a run of so many steps. A run that
            "trainer.patience" or "trainer.max_time" has ended trains on with a larger one.

    Raises:
        ConfigError: no run directory, a run that is done already, or a data file that has changed since.
    """
    run = load_run(directory)
    return resume_run(Run(run.directory, relocate(run.config, overrides)))


def resume_run(run: Run) -> Run:
    """Resume a run where its configuration says; see resume."""
    before = load_run(run.directory).config.max_steps
    if run.done:
        check_goes_on(run)
    experiment = build(run.config)
    if run.config.max_steps > before and run.config.trainer.progress != "off":
        step = run.checkpoint("last")["global_step"] if run.has_checkpoint("last") else 0
        rate = experiment.optimizer.learning_rate(step, run.config.max_steps)
        print_line(
            f"flowlab: from step {step} on, the learning rate follows a run of {run.config.max_steps} steps, by "
            f"optimizer.schedule={experiment.optimizer.schedule}: it continues at {rate:g}"
        )
    with join_ranks(run.config.trainer) as world:
        world.broadcast_from_rank_zero(lambda: reopen(run, experiment))
        return run_training(run, experiment, world)


def complete(config: Config, directory: Path, group: str | None = None, experiment: Experiment | None = None) -> Run:
    """Train a run, or resume it; leave a run that is done unchanged.

    This is for a command that may be started more than once: a job of a sweep, or of a cluster.

    Arguments:
        config: the run's configuration; a run that has begun in the directory must have the same.
        directory: the run directory: new, empty, or this run's.
        group: the name of its sweep.
        experiment: the objects of the configuration, if they are built already.

    Raises:
        ConfigError: see train and resume.
        DivergedError: see train.
    """
    with join_ranks(config.trainer) as world:
        before = world.broadcast_from_rank_zero(lambda: find_run(directory, config))
        if before and before.done:
            return before
        try:
            built = experiment or build(config)
            run = world.broadcast_from_rank_zero(lambda: open_run(before, built, directory, group))
        except ConfigError as error:
            # Perhaps this machine alone cannot run it; whoever reads the sweep elsewhere sees why.
            if world.is_rank_zero:
                with contextlib.suppress(ConfigError, OSError):
                    mark_failed(Run(directory, with_absolute_paths(config)), error)
            raise
        return run_training(run, built, world)


def find_run(directory: Path, config: Config) -> Run | None:
    """The run that has begun in a directory, if one has; it resumes where the configuration says now.

    A directory that holds something else, or another run, is a ConfigError.
    """
    check_links(directory)
    if (directory / "config.yaml").is_file():
        recorded = load_run(directory).config
        config = fill_from(with_absolute_paths(config), recorded)
        if not is_same_run(recorded, config):
            raise ConfigError(f"{directory}: holds a run of another configuration; choose another directory")
        return Run(directory, config)
    check_directory(directory)
    return None


def open_run(before: Run | None, experiment: Experiment, directory: Path, group: str | None) -> Run:
    """A run that is ready to be trained: begun, or reopened if it had begun before."""
    if before is None:
        return begin(experiment.config, experiment.target, directory, group)
    reopen(before, experiment)
    return before


def reopen(run: Run, experiment: Experiment) -> None:
    """Check that a run can resume, and record that it does, and where.

    Raises:
        ConfigError: a damaged file, a data file that has changed since, or another process on the directory.
    """
    check_links(run.directory)
    check_data(run, experiment.target)
    check_files(run, experiment.flow, experiment.target.train_size is not None)  # before anything changes
    record, path = run.provenance, run.directory / "provenance.json"
    if not re.fullmatch(r"[\w-]+", str(record.get("run_id"))):  # it becomes part of a file's name
        raise ConfigError(f"{path}: run_id={record.get('run_id')!r}: is not one of a run")
    if not isinstance(record.setdefault("resumed", []), list):
        raise ConfigError(f"{path}: resumed={record['resumed']!r}: must be a list; remove it")
    record["resumed"].append(provenance(run.config))
    try:
        with lock_directory(run.directory):
            remove_parts(run.directory)
            write_json(path, record)
            write_config(run)
    except OSError as error:
        raise ConfigError(f"{run.directory}: cannot be written: {error.strerror}") from None
