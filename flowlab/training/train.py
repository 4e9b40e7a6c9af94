"""Train a configuration into a run directory, resume one, or do whichever is needed."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config, to_config
from flowlab.config.untrusted import check_links
from flowlab.distributed.cluster import join_world
from flowlab.runs.begin import begin, check_directory, default_directory, provenance, with_absolute_paths, write_config
from flowlab.runs.directory import Run, check_data, load_run, mark_failed
from flowlab.runs.resume import check_files, is_same_run, relocate
from flowlab.system.files import lock_directory, remove_parts, write_json
from flowlab.training.build import Experiment, build
from flowlab.training.run import run_training


def train(config: Config, directory: str | Path | None = None, group: str | None = None) -> Run:
    """Train a flow: build, fit, evaluate, draw, save.

    Where Slurm or torchrun has started several processes for it, each of them calls this.

    Arguments:
        config: from `flowlab.compose`.
        directory: the run directory, new or empty; None makes one under `runs/`, named after time, target and seed.
        group: the name of its sweep, for Weights & Biases.

    Raises:
        ConfigError: a configuration that cannot be run, or a directory that is not empty; nothing is written.
        DivergedError: the loss stopped being finite; the directory says so and keeps the last checkpoint.

    Example:
        >>> import flowlab, tempfile
        >>> cfg = flowlab.compose("max_steps=20", "test_size=1000", "trainer.progress=off")
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     run = flowlab.train(cfg, directory)
        ...     run.result["steps"]
        20
    """
    checked = to_config(config.to_dict())  # in Python a field may have been set to any value
    return train_experiment(build(checked), directory, group)


def train_experiment(experiment: Experiment, directory: str | Path | None = None, group: str | None = None) -> Run:
    """Train an experiment that is built; see train."""
    config = experiment.config
    chosen = Path(directory) if directory is not None else default_directory(config)
    with join_world(config.trainer) as world:
        run = world.broadcast_from_rank_zero(lambda: begin(config, experiment.target, chosen, group))
        return run_training(run, experiment, world)


def resume(directory: str | Path, *overrides: str) -> Run:
    """Resume a run that was killed, interrupted or failed, from its last checkpoint.

    The end is the same, bit for bit, as if nothing had happened: the minibatch of a step is a function of the seed and
    the step, and everything else is in the checkpoint. A run that was killed before its first checkpoint starts again.

    Arguments:
        directory: the run directory.
        overrides: where it resumes, as "trainer.devices=4" or "trainer=gpu"; with more or fewer processes the end is
            the same up to rounding. A GPU draws other points than a CPU.

    Raises:
        ConfigError: no run directory, a run that is done already, or a data file that has changed since.
    """
    run = load_run(directory)
    return resume_run(Run(run.directory, relocate(run.config, overrides)))


def resume_run(run: Run) -> Run:
    """Resume a run where its configuration says; see resume."""
    if run.done:
        raise ConfigError(f"{run.directory}: this run is done already: {run!r}")
    experiment = build(run.config)
    with join_world(run.config.trainer) as world:
        world.broadcast_from_rank_zero(lambda: reopen(run, experiment))
        return run_training(run, experiment, world)


def complete(config: Config, directory: Path, group: str | None = None, experiment: Experiment | None = None) -> Run:
    """Train a run, resume it, or leave it as it is if it is done.

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
    with join_world(config.trainer) as world:
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

    Raises:
        ConfigError: the directory holds something else, another run or a damaged one, or another process uses it.
    """
    check_links(directory)
    if (directory / "config.yaml").is_file():
        if not is_same_run(load_run(directory).config, with_absolute_paths(config)):
            raise ConfigError(f"{directory}: holds a run of another configuration; choose another directory")
        return Run(directory, with_absolute_paths(config))
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
