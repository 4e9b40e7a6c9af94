"""Train a configuration into a run directory: build, fit, evaluate, draw, save."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flowlab.config.paths import local_path
from flowlab.config.schema import Config, TrainerConfig, check_again
from flowlab.distributed.cluster import join_world, requeue_job
from flowlab.distributed.launch import train_on_ranks
from flowlab.distributed.world import SINGLE_PROCESS, GracefulStop, World, resolve_device
from flowlab.flow import Flow
from flowlab.flows._assemble import facts_of
from flowlab.loggers.base import Sink, figures_every, log_figures, log_outcome, open_loggers
from flowlab.metrics.evaluation import (
    OF_SAMPLES,
    TEST,
    Evaluation,
    evaluate,
    expected_metrics,
    gaussian_nll,
    metric_names,
    reverse_kl,
)
from flowlab.metrics.rows import describe_rows
from flowlab.runs.directory import Run, begin, check_data
from flowlab.runs.record import Checkpoints, Record, track_status
from flowlab.system.display import Progress, RunProgress, resolve_display
from flowlab.system.files import WriteError, check_not_replaced, raise_write_error, write_json
from flowlab.system.process import (
    STOP_HANDLERS,
    Preempted,
    handle_signals,
    is_in_notebook,
    print_line,
    print_once,
    raise_preempted,
    set_threads,
)
from flowlab.targets.base import ExactTarget, Target
from flowlab.training.build import Experiment, build, build_batches, build_scorer
from flowlab.training.divergence import DivergedError
from flowlab.training.loop import Job, Loop

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    if directory is None:
        directory = Path("runs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}_{config.target.name}_seed{config.seed}"
    elif not Path(directory).is_absolute():
        directory = local_path("directory", directory)
    chosen = Path(directory)
    with join_ranks(config.trainer) as world:
        run = world.broadcast_from_rank_zero(lambda: begin(config, experiment.target, chosen, group))
        return run_training(run, experiment, world)


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
        if progress is None and world.is_rank_zero and trainer.progress != "off":
            progress = RunProgress(trainer.progress)
            if resolve_display(trainer.progress) != "notebook":
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
    score = build_scorer(target, "validation", config.validation_size, config.seed, flow.anchor)
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


def join_ranks(trainer: TrainerConfig) -> AbstractContextManager[World]:
    """The ranks that Slurm or torchrun has started; flowlab starts its own where it trains."""
    return nullcontext(SINGLE_PROCESS) if trainer.launcher == "flowlab" else join_world(trainer)


def finish_job(run: Run, experiment: Experiment, loop: Loop, place: int) -> None:
    """Write result.json and the figures of a trained job, and log them, or raise the DivergedError that ended it.

    Finite data can be memorized, so there the flow gets its best weights.

    Raises:
        DivergedError: the loss stopped being finite, the flow gives no finite NLL, or has lost its inverse to rounding.
    """
    job, flow, target = loop.jobs[place], experiment.flow, experiment.target
    if job.failure is not None:
        raise job.failure
    if not loop.world.is_rank_zero:
        return
    weights = "last" if target.train_size is None else "best"
    if weights == "best":
        if not run.has_checkpoint("best"):
            raise DivergedError("training came to its end, but no validation gave a finite NLL")
        run.load_weights(flow, "best")
    steps = int(loop.state.steps[place])
    whole = steps == run.config.max_steps
    result = _measure(run, flow, target) | {
        "weights": weights,
        "steps": steps,
        "ended_by": "max_steps" if whole else "patience" if job.checkpoints.is_patience_spent else "max_time",
        "best_step": job.checkpoints.best_step,
        "compiled": loop.choice.compiled,
        "seconds": job.record.seconds,
        "steps_per_second": steps / job.record.seconds,
    }
    for doubt in result.get("doubts", ()):
        if not is_in_notebook():  # what a cell shows should not vary
            print_line(f"flowlab: {run.directory}: {doubt}")
    check_not_replaced(run.directory)
    write_json(run.directory / "result.json", result)
    log_outcome(job.loggers, result, _save_figures(run, flow, target))


def _measure(run: Run, flow: Flow, target: Target) -> dict[str, Any]:
    config, like = run.config, flow.anchor
    parameters = sum(parameter.numel() for parameter in flow.parameters())
    if not target.has_points:  # then on points of the flow
        evaluation = build_scorer(target, "test", config.test_size, config.seed, like)(flow)
        measured = evaluation.measure([*OF_SAMPLES, *config.metrics])
        _check_sound(measured["elbo"], evaluation, evaluation.batch.x.double().flatten(1).std(0), "ELBO")
        return measured | {"test_points": len(evaluation.batch.x), "parameters": parameters}
    test = target.batch("test", config.test_size, config.seed, torch.float64)
    train = target.rows("train", config.test_size, config.seed, torch.float64)
    train_weights, weights = target.row_weights("train"), target.row_weights("test")
    evaluation = evaluate(flow, test.to(like.device, like.dtype), target, weights=weights)
    measured = evaluation.measure([*TEST, *config.metrics])
    _check_sound(measured["nll"], evaluation, torch.cat([train, test.x]).flatten(1).std(0))
    result: dict[str, Any] = {name: measured[name] for name in measured if name not in ("kl", "kl_se")} | {
        "gaussian_nll": gaussian_nll(train, test.x, train_weights, weights),
        "test_points": len(test.x),
        "parameters": parameters,
    }
    if target.entropy is not None:
        result["entropy"] = target.entropy
    if not isinstance(target, ExactTarget):
        numbers = (target.row_numbers or {}).get("test")
        result |= describe_rows(-evaluation.log_prob, result["gaussian_nll"], numbers, weights)
    elif not config.objective.needs_points:
        result |= reverse_kl(flow, target, config.test_size, config.seed)
    return result | {name: measured[name] for name in ("kl", "kl_se") if name in measured}


def _check_sound(value: float, evaluation: Evaluation, spread: Tensor, name: str = "NLL") -> None:
    """Refuse meaningless numbers: without an inverse, the flow's density is none. The value is an NLL, or as named.

    The error of the inverse is compared with the spread of each column, of shape (dim,): this depends on no origin.
    """
    if not math.isfinite(value):
        raise DivergedError(f"training came to its end, but the {name} of the test points is not finite")
    errors = evaluation.column_errors.to(spread)
    lost = (~(errors <= spread)).nonzero().flatten().tolist()
    if lost:
        column = max(lost, key=lambda number: float(errors[number] / spread[number]))
        raise DivergedError(
            "training came to its end, but the flow cannot be inverted any more: to the base and back, column "
            f"{evaluation.target.columns[column]} of a test point moves by {errors[column]:.3g}, where its standard "  # type: ignore[union-attr]
            f"deviation is {spread[column]:.3g}; use a smaller flow.depth or optimizer.lr, or dtype=float64"
        )


def show_figures(run: Run, flow: Flow, target: Target, loggers: Sequence[Sink], step: int) -> None:
    """Draw the figures of a step during training, unless an earlier session has shown them."""
    due = [logger for logger in loggers if logger.has_figures_due(step)]
    if due and step >= max(logger.last_step for logger in loggers):
        with _report_failed_figures(run):
            log_figures(due, _draw_figures(run, flow, target), step)


def _draw_figures(run: Run, flow: Flow, target: Target) -> dict[str, Figure]:
    from flowlab.plotting import run_figures  # needs pandas and matplotlib: not before there is a flow

    return run_figures(flow, target, run.metrics, run.config.seed, run.config.objective.label)


def _save_figures(run: Run, flow: Flow, target: Target) -> dict[str, Figure]:
    """Draw and save the figures of a run; gives them by name, or none where one cannot be drawn."""
    with _report_failed_figures(run):
        from flowlab.plotting import save_figure

        figures, directory = _draw_figures(run, flow, target), run.directory / "figures"
        with raise_write_error(directory):
            directory.mkdir(exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, directory / f"{name}.png")
        return figures
    return {}


@contextmanager
def _report_failed_figures(run: Run) -> Iterator[None]:
    """Print the error of a figure that cannot be drawn; after a WriteError a resumed run saves the figure again."""
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        print_line(f"flowlab: {run.directory}/figures: not all could be drawn: {error}")
