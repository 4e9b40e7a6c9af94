"""Train a configuration into a run directory, resume one, or do whichever is needed."""

from __future__ import annotations

import contextlib
import re
import signal
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from torch import nn

from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.schema import Config, TrainerConfig, check_again
from flowlab.config.untrusted import check_links
from flowlab.distributed.cluster import join_world, requeue_job
from flowlab.distributed.launch import train_on_ranks
from flowlab.distributed.world import SINGLE_PROCESS, GracefulStop, World, resolve_device
from flowlab.flows._assemble import facts_of
from flowlab.loggers.base import figures_every, open_loggers
from flowlab.metrics.evaluation import expected_metrics, metric_names, scorer
from flowlab.runs.begin import begin, check_directory, default_directory, provenance, with_absolute_paths, write_config
from flowlab.runs.checkpoint import Checkpoints
from flowlab.runs.directory import Run, check_data, load_run, mark_failed, track_status
from flowlab.runs.resume import check_files, check_goes_on, is_same_run, relocate
from flowlab.system.files import lock_directory, remove_parts, write_json
from flowlab.system.process import (
    STOP_HANDLERS,
    Preempted,
    Progress,
    build_progress,
    handle_signals,
    print_line,
    print_once,
    raise_preempted,
    resolve_display,
    set_threads,
)
from flowlab.targets.base import ExactTarget
from flowlab.training.build import Experiment, build, build_batches
from flowlab.training.follow_data import fill_from
from flowlab.training.loop import Job, Loop
from flowlab.training.record import Record, show_figures, write_result


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
    return train_experiment(build(check_again(config, "train")), directory, group)


def train_experiment(experiment: Experiment, directory: str | Path | None = None, group: str | None = None) -> Run:
    """Train an experiment that is built; see train."""
    config = experiment.config
    chosen = default_directory(config) if directory is None else Path(directory)
    if not chosen.is_absolute():
        chosen = Path(local_path("directory", directory or chosen))
    with _ranks(config.trainer) as world:
        run = world.broadcast_from_rank_zero(lambda: begin(config, experiment.target, chosen, group))
        return run_training(run, experiment, world)


def resume(directory: str | Path, *overrides: str) -> Run:
    """Resume a run that was killed, interrupted or failed, from its last checkpoint.

    The end is the same, bit for bit, as if nothing had happened: the minibatch of a step is a function of the seed and
    the step, and everything else is in the checkpoint. A run that was killed before its first checkpoint starts again.

    Arguments:
        directory: the run directory.
        overrides: where it resumes, as "trainer.devices=4" or "trainer=gpu"; with more or fewer processes the end is
            the same up to rounding. A GPU draws other points than a CPU. "max_steps=20000" trains a run longer, also
            one that is done; it takes the learning rate of a run of so many steps. A run that "trainer.patience" or
            "trainer.max_time" has ended trains on with a larger one.

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
    with _ranks(run.config.trainer) as world:
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
    with _ranks(config.trainer) as world:
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


def run_training(
    run: Run, experiment: Experiment, world: World = SINGLE_PROCESS, progress: Progress | None = None
) -> Run:
    """Train a run that has begun from its first step or its last checkpoint; evaluate, draw and save.

    `world` holds the ranks that a launcher has started; `progress` None is what the configuration asks for.
    """
    trainer, handlers = run.config.trainer, STOP_HANDLERS
    if trainer.launcher == "slurm":  # also outside the loop; the other ranks leave it to rank 0
        handlers = handlers | {signal.SIGUSR1: raise_preempted if world.is_rank_zero else signal.SIG_IGN}
    try:
        with handle_signals(handlers), track_status(run) if world.is_rank_zero else nullcontext():
            if trainer.launcher == "flowlab" and trainer.devices > 1:
                train_on_ranks(run.directory, trainer)
            else:
                train_in_process(run, experiment, world, progress)
    except Preempted:
        if world.is_rank_zero:
            requeue_job()
        raise
    return run


def train_in_process(
    run: Run, experiment: Experiment, world: World = SINGLE_PROCESS, progress: Progress | None = None
) -> None:
    """Train a run in this process, alone or as one of several ranks; rank 0 evaluates, draws and saves."""
    check_data(run, experiment.target)  # each rank has read the file itself
    trainer = run.config.trainer
    with ExitStack() as stack:
        stack.enter_context(set_threads(trainer.threads))
        job = build_job(run, experiment, world)
        if world.is_rank_zero:
            columns = expected_metrics(run.config.metrics, experiment.target)
            job.loggers = stack.enter_context(open_loggers(run, columns))
            for note in experiment.target.notes:  # the jobs of a sweep share them
                print_once(note, str(run.directory.parent) if run.provenance.get("group") else None)
        loop = Loop([job], trainer, run.config.max_steps, GracefulStop(world, trainer.launcher == "slurm"))
        if run.has_checkpoint("last"):
            loop.restore([run.checkpoint("last")])
        if progress is None and world.is_rank_zero:
            progress = build_progress(trainer.progress)
            if resolve_display(trainer.progress) in ("bar", "lines"):
                print_line(f"the step is {'' if loop.choice.compiled else 'not '}compiled: {loop.choice.why}")
        loop.run(progress)
        finish_job(run, experiment, loop, 0)


def build_job(run: Run, experiment: Experiment, world: World = SINGLE_PROCESS) -> Job:
    """The part of the training loop that belongs to one run alone; its loggers are still to be opened."""
    config, target, objective = run.config, experiment.target, experiment.objective
    device = resolve_device(config.trainer.accelerator, world.local_rank)
    directory, finite = run.directory if world.is_rank_zero else None, target.train_size is not None
    flow = experiment.flow.to(device)
    if isinstance(target, ExactTarget):
        target.to_(device)
    score = scorer(target, "validation", config.validation_size, config.seed, flow.anchor)
    names, ranks = metric_names(config.metrics, target), world if world.size > 1 else None

    def measure(module: nn.Module) -> dict[str, float]:
        return score(module, ranks).measure(names)

    job = Job(
        module=flow,
        loss=lambda module, batch: objective(module, batch, target),
        optimizer=experiment.optimizer,
        batches=build_batches(objective, flow, target, config.seed, config.batch_size, experiment.dtype, device),
        record=Record(config.trainer, config.max_steps, experiment.optimizer, measure),
        checkpoints=Checkpoints(config.trainer, config.max_steps, directory, finite, metric=names[0]),
        shape=facts_of(flow, target, objective.needs_density),
        inverse=objective.needs_points,
        figures_every=figures_every(config.logger.values()),
    )
    job.show = lambda module, step: show_figures(run, module, target, job.loggers, step)  # type: ignore[arg-type]
    return job


def finish_job(run: Run, experiment: Experiment, loop: Loop, place: int) -> None:
    """Write the result of a trained job, or raise the DivergedError that ended it."""
    job = loop.jobs[place]
    if job.failure is not None:
        raise job.failure
    if not loop.world.is_rank_zero:
        return
    steps = int(loop.state.steps[place])
    whole = steps == run.config.max_steps
    training = {
        "steps": steps,
        "ended_by": "max_steps" if whole else "patience" if job.checkpoints.is_patience_spent else "max_time",
        "best_step": job.checkpoints.best_step,
        "compiled": loop.choice.compiled,
        "seconds": job.record.seconds,
        "steps_per_second": steps / job.record.seconds,
    }
    write_result(run, experiment.flow, experiment.target, training, job.loggers)


def _ranks(trainer: TrainerConfig) -> AbstractContextManager[World]:
    """The ranks that Slurm or torchrun has started; flowlab starts its own where it trains."""
    return nullcontext(SINGLE_PROCESS) if trainer.launcher == "flowlab" else join_world(trainer)
