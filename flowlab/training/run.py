"""Train a run that has begun, in this process or on several ranks, and write its result."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from flowlab.distributed.cluster import requeue_job
from flowlab.distributed.devices import resolve_device
from flowlab.distributed.launch import train_on_ranks
from flowlab.distributed.stopping import GracefulStop
from flowlab.distributed.world import SINGLE_PROCESS, World
from flowlab.loggers.base import figures_every, open_loggers
from flowlab.metrics._evaluate import evaluate
from flowlab.runs.directory import Run, check_data, track_status
from flowlab.system.display import Progress, build_progress, print_line, resolve_display
from flowlab.system.process import STOP_HANDLERS, Preempted, handle_signals, raise_preempted, set_threads
from flowlab.targets.base import ExactTarget
from flowlab.training.batches import build_batches
from flowlab.training.build import Experiment
from flowlab.training.checkpoints import Best, Checkpoints
from flowlab.training.compile import choose
from flowlab.training.loop import Job, Loop
from flowlab.training.record import Record, metric_names
from flowlab.training.report import show_figures, write_result


def run_training(
    run: Run, experiment: Experiment, world: World = SINGLE_PROCESS, progress: Progress | None = None
) -> Run:
    """Train a run from its beginning or its last checkpoint; evaluate, draw and save.

    Arguments:
        run: a run directory that has begun.
        experiment: the objects of its configuration.
        world: the ranks that train it together, if a launcher has started them.
        progress: shows the progress; None shows what the configuration asks for.
    """
    trainer, handlers = run.config.trainer, STOP_HANDLERS
    if trainer.launcher == "slurm":  # also outside the loop; the other ranks leave it to rank 0
        handlers = handlers | {signal.SIGUSR1: raise_preempted if world.is_rank_zero else signal.SIG_IGN}
    tracked = track_status(run) if world.is_rank_zero else contextlib.nullcontext()
    try:
        with handle_signals(handlers), tracked:
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
    trainer, max_steps = run.config.trainer, run.config.max_steps
    with contextlib.ExitStack() as stack:
        stack.enter_context(set_threads(trainer.threads))
        job = build_job(run, experiment, world)
        if world.is_rank_zero:
            job.loggers = stack.enter_context(open_loggers(run, expected_metrics(experiment)))
        stop = GracefulStop(world, preemption=trainer.launcher == "slurm")
        loop = Loop([job], trainer, max_steps, stop)
        if run.has_checkpoint("last"):
            loop.restore([run.checkpoint("last")])
        if progress is None and world.is_rank_zero:
            progress = build_progress(trainer.progress)
            if resolve_display(trainer.progress) in ("bar", "lines"):
                device = resolve_device(trainer.accelerator).type
                choice = choose(trainer.compile, max_steps, device)
                print_line(f"the step is {'' if choice.compiled else 'not '}compiled: {choice.why}")
        loop.run(progress)
        finish_job(run, experiment, loop, 0)


def build_job(run: Run, experiment: Experiment, world: World = SINGLE_PROCESS) -> Job:
    """The part of the training loop that belongs to one run alone; its loggers are still to be opened."""
    config, target, objective = run.config, experiment.target, experiment.objective
    device = resolve_device(config.trainer.accelerator, world.local_rank)
    flow = experiment.flow.to(device)
    if isinstance(target, ExactTarget):
        target.to_(device)
    held_out = target.batch("validation", config.validation_size, config.seed, experiment.dtype).to(device)
    names = metric_names(config.metrics)

    def measure(module: nn.Module) -> dict[str, float]:
        return evaluate(module, held_out, target, world).measure(names)  # type: ignore[arg-type]

    record = Record(config.trainer, config.max_steps, experiment.optimizer, measure)
    best = Best(config.trainer, finite=target.train_size is not None)
    job = Job(
        module=flow,
        loss=lambda module, batch: objective(module, batch, target),
        optimizer=experiment.optimizer,
        batches=build_batches(objective, flow, target, config.seed, config.batch_size, experiment.dtype, device),
        record=record,
        checkpoints=Checkpoints(best, run.directory, config.max_steps),
        inverse=objective.needs_points,
        figures_every=figures_every(config.logger.values()),
        context_shape=target.context_shape,
        standardized=target.standardization is not None,
    )
    job.show = lambda module, step: show_figures(run, module, target, job.loggers, step)  # type: ignore[arg-type]
    return job


def expected_metrics(experiment: Experiment) -> Sequence[str]:
    """The metrics that a validation of an experiment gives: the columns of its metrics.csv."""
    known = isinstance(experiment.target, ExactTarget)
    return [name for name in metric_names(experiment.config.metrics) if known or name != "kl"]


def finish_job(run: Run, experiment: Experiment, loop: Loop, place: int) -> None:
    """Write the result of a trained job.

    Raises:
        DivergedError: the job has failed.
    """
    job = loop.jobs[place]
    if job.failure is not None:
        raise job.failure
    if not loop.world.is_rank_zero:
        return
    training: dict[str, Any] = {
        "steps": loop.step,
        "best_step": job.checkpoints.best.step,
        "compiled": loop.compiled,
        "seconds": job.record.seconds,
        "steps_per_second": loop.step / job.record.seconds,
    }
    flow = job.module
    assert isinstance(flow, torch.nn.Module)
    write_result(run, flow, experiment.target, training, job.loggers)  # type: ignore[arg-type]
