"""Train a module in memory: no configuration, and no directory unless one is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from flowlab.bijectors.base import check_event_shape
from flowlab.config.component import as_typed
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.schema import WHERE, TrainerConfig
from flowlab.flow import Flow
from flowlab.flows._assemble import facts_of
from flowlab.loggers.base import CSVMetrics, rows_after
from flowlab.metrics.evaluation import check_metrics, chunks, evaluate, metric_names
from flowlab.objectives.base import Objective, as_objective
from flowlab.optimizers.base import Optimizer, as_optimizer
from flowlab.runs.checkpoint import flow_weights
from flowlab.runs.record import Checkpoints, Measure, Record
from flowlab.system.display import RunProgress
from flowlab.system.files import lock_directory, read_checkpoint
from flowlab.system.process import print_line
from flowlab.targets.base import Batch, Target
from flowlab.targets.densities._for_flow import onto_support, target_of
from flowlab.training.build import Choice, build_scorer
from flowlab.training.data import VALIDATION_POINTS, LoaderBatches, add_noise, batches_of_data, optimizer_settings
from flowlab.training.follow_data import VALIDATIONS
from flowlab.training.loop import Job, Loop
from flowlab.training.step import LossOf, trained

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Fit:
    """The course of a training.

    Attributes:
        flow: the module with its trained parameters. If the target has a bounded support, it is the given flow followed
            by a fixed map onto the support; both share their parameters.
        rows: what was logged, by step: loss, metrics, grad_norm, lr, steps_per_second, seconds.
        steps: how many steps were taken.
        best_step: the step with the best validation; 0 if none was better than the untrained module, or without one.
        seconds: training time.
    """

    flow: Any = field(repr=False)  # a Flow, or the module that was given
    rows: dict[int, dict[str, float]] = field(repr=False)
    steps: int
    best_step: int
    seconds: float

    @property
    def history(self) -> pandas.DataFrame:
        """The logged rows as a table, with the step as index."""
        import pandas

        return pandas.DataFrame.from_dict(self.rows, orient="index").rename_axis("step")


def fit_module(
    flow: nn.Module,
    data: Any = None,
    *,
    log_density: Callable[[Tensor], Tensor] | None = None,
    support: Any = None,
    context: Any = None,
    validation: Any = 0.1,
    steps: int = 2000,
    batch_size: int = 512,
    lr: float | None = None,
    optimizer: str | Optimizer = "adam",
    objective: str | Objective | None = None,
    seed: int = 0,
    metrics: Sequence[str] = (),
    directory: str | Path | None = None,
    **settings: Any,
) -> Fit:
    """Train a flow, or any module with a `loss`, in place; arguments and errors as in `flowlab.fit`."""
    if not isinstance(flow, nn.Module):
        raise ConfigError(
            f"fit: flow is a {type(flow).__name__} and must be a Flow, or a module with a loss; for the density of a "
            'table give a name, as in fit(table, flow="tabular")'
        )
    trainer = check_settings(steps, batch_size, settings)
    data = target_of(log_density, support, flow, data)
    chosen = as_optimizer(optimizer, lr, **(optimizer_settings(data, steps) if isinstance(flow, Flow) else {}))
    goal = as_objective(objective or ("reverse_kl" if log_density else "maximum_likelihood"))
    like = next((each for each in flow.parameters() if each.requires_grad), None)
    if like is None:
        raise ConfigError(f"fit: {type(flow).__name__} has no parameters to train; call flow.requires_grad_() first")
    target = data if isinstance(data, Target) else None
    if target is not None and (target.train_size is not None or not target.has_points):
        target.check(like.dtype, seed)
    if isinstance(flow, Flow) and target is not None and goal.needs_density:
        flow = onto_support(flow, target)
    for note in target.notes if target else ():
        print_line(note)
    plan = Plan(trainer, steps, batch_size, chosen, goal, validation, metrics)
    with ExitStack() as sinks:
        return train_jobs([make_job(plan, flow, data, context, seed, directory, sinks)], plan)[0]


class Plan(NamedTuple):
    """The settings that modules share which are trained together, or the settings of one."""

    trainer: TrainerConfig
    steps: int
    batch_size: int
    optimizer: Optimizer
    objective: Objective
    validation: Any = 0.1
    metrics: Sequence[str] = ()


def make_job(
    plan: Plan, module: nn.Module, data: Any, context: Any, seed: int, directory: str | Path | None, sinks: ExitStack
) -> Job:
    """The job of a module in memory, which locks its directory until `sinks` ends; other arguments as in `flowlab.fit`.

    Raises:
        ConfigError: a setting, the data or the directory cannot be used.
    """
    trainer, goal, steps = plan.trainer, plan.objective, plan.steps
    target = data if isinstance(data, Target) else None
    loss = _loss(module, goal, target, steps)
    like = trained(module)[0]
    batches, held_out = batches_of_data(module, goal, data, context, plan.validation, seed, plan.batch_size, like)
    if isinstance(module, Flow):
        _check_shape(module, target.event_shape if target else batches(0).x.shape)
    if isinstance(batches, LoaderBatches) or (trainer.compile == "auto" and not isinstance(module, Flow)):
        if trainer.compile == "true":
            raise ConfigError("compile=true: the batches of a DataLoader may differ in size; use compile=false")
        trainer.compile = "false"
    batches, held_out = add_noise(module, batches, held_out, seed)
    names, measure = _measure(module, target, held_out, plan.metrics, plan.validation, seed)
    finite = target is None or target.train_size is not None
    place = None if directory is None else Path(local_path("directory", directory))
    return Job(
        module=module,
        loss=loss,
        optimizer=plan.optimizer,
        batches=batches,
        record=Record(trainer, steps, plan.optimizer, measure),
        checkpoints=Checkpoints(trainer, steps, place, finite, metric=names[0]),
        shape=facts_of(module),
        loggers=sinks.enter_context(_sinks(place, names)),
        inverse=goal.needs_points,
    )


def train_jobs(jobs: Sequence[Job], plan: Plan, stacked: Choice | None = None) -> list[Fit]:
    """Train the jobs of modules in memory together, each from its last checkpoint; see Loop for `stacked`.

    Raises:
        ConfigError: a directory cannot be used.
        DivergedError: all jobs have diverged.
    """
    saved = [_read_last(job.checkpoints.directory) for job in jobs]
    reached = [checkpoint["global_step"] if checkpoint else 0 for checkpoint in saved]
    ended: dict[int, int] = {}
    for step in sorted(set(reached)):  # a kill may come between two files
        numbers = [number for number in range(len(jobs)) if reached[number] == step]
        loop = Loop([jobs[number] for number in numbers], plan.trainer, plan.steps, None, stacked is None, stacked)
        if step:
            with _refuse_damaged(jobs[numbers[0]].checkpoints.directory):
                loop.restore([saved[number] for number in numbers])  # type: ignore[misc]
        loop.run(None if plan.trainer.progress == "off" else RunProgress(plan.trainer.progress))
        ended |= dict.fromkeys(numbers, loop.step)
    failures = [job.failure for job in jobs if job.failure is not None]
    if len(failures) == len(jobs):
        raise failures[0]
    return [_finish(job, ended[number]) for number, job in enumerate(jobs)]


def _read_last(directory: Path | None) -> dict[str, Any] | None:
    """The last checkpoint in a directory, if there is one."""
    if directory is None or not (path := directory / "checkpoints/last.ckpt").exists():
        return None
    with _refuse_damaged(directory):
        checkpoint = read_checkpoint(path)
        return checkpoint | {"global_step": int(checkpoint["global_step"])}


@contextmanager
def _refuse_damaged(directory: Path | None) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, RuntimeError, OSError):
        raise ConfigError(
            f"directory={directory}: its checkpoint is damaged, or of another module or optimizer; choose another "
            "directory"
        ) from None


def _finish(job: Job, steps: int) -> Fit:
    """The course of a job's training; its module gets the best weights, unless it has diverged."""
    place = job.checkpoints.directory
    if job.failure is not None:
        print_line(f"{'a module of the stack' if place is None else place}: {job.failure}")
    elif job.checkpoints.finite and job.checkpoints.has_best:
        best = job.checkpoints.best or read_checkpoint(Path(place or "", "checkpoints/best.ckpt"))
        job.module.load_state_dict(flow_weights(best))
    rows = dict(rows_after(place / "metrics.csv", 0)) if place else job.record.rows
    return Fit(job.module, rows, steps, job.checkpoints.best_step, job.record.seconds)


def check_settings(steps: int, batch_size: int, settings: dict[str, Any]) -> TrainerConfig:
    """The trainer's settings of a training in memory; raise ConfigError if one cannot be used."""
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}={value!r}: must be a whole number, at least 1")
    for name in WHERE:
        if name in settings:
            raise ConfigError(
                f"{name}={settings[name]!r}: fit trains in this process, where the module is; move the module, as with "
                "flow.to('cuda'), or use flowlab.train"
            )
    trainer = as_typed(TrainerConfig, {"checkpoint_every": 1000, "threads": None} | settings, "")
    return replace(trainer, validate_every=trainer.validate_every or max(1, steps // VALIDATIONS))


def _check_shape(flow: Flow, shape: Sequence[int]) -> None:
    try:
        check_event_shape("fit", shape, flow.event_shape)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _loss(module: nn.Module, objective: Objective, target: Target | None, steps: int) -> LossOf:
    """The loss of a flow and a minibatch, or a module's own."""
    if isinstance(module, Flow):
        if target is not None:
            objective.check_training(target, module, steps)
        elif objective.needs_density or not objective.needs_points:
            raise ConfigError(f"objective={objective.name}: needs a Target as data, not points")
        return lambda flow, batch: objective(flow, batch, target)  # type: ignore[arg-type]
    if not callable(getattr(module, "loss", None)):
        raise ConfigError(f"fit: {type(module).__name__} is no Flow, and has no method loss(x); define one")
    if not objective.needs_points:
        raise ConfigError(f"objective={objective.name}: is for a Flow; {type(module).__name__} has a loss of its own")
    return lambda module, batch: module.loss(*batch.tensors())


def _measure(
    module: nn.Module, target: Target | None, held_out: Batch | None, metrics: Sequence[str], validation: Any, seed: int
) -> tuple[list[str], Measure | None]:
    """The names of the metrics, first the one by which the best weights are chosen; and what measures them."""
    if isinstance(module, Flow):
        names = metric_names(metrics, target)
        check_metrics(metrics, target)
        if target is not None and not target.has_points:
            score = build_scorer(target, "validation", VALIDATION_POINTS, seed, module.anchor)
            return names, (lambda flow: score(flow).measure(names)) if validation else None
        weights = target.row_weights("validation") if target and isinstance(validation, float | int) else None
        if not held_out:
            return names, None
        return names, lambda flow: evaluate(flow, held_out, target, weights=weights, quick=True).measure(names)
    if metrics:
        raise ConfigError(f"metrics={list(metrics)}: are for a Flow; {type(module).__name__} has a loss alone")

    @torch.no_grad()
    def average(module: Any) -> dict[str, float]:
        assert held_out is not None
        parts = [(len(part.x), float(module.loss(*part.tensors()))) for part in chunks(held_out)]
        return {"validation_loss": sum(n * value for n, value in parts) / len(held_out.x)}

    return ["validation_loss"], held_out and average


@contextmanager
def _sinks(directory: Path | None, metrics: Sequence[str]) -> Iterator[list[CSVMetrics]]:
    """The sink of a directory, which this process locks."""
    if directory is None:
        yield []
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"directory={directory}: cannot be made: {error.strerror}") from None
    with lock_directory(directory):
        yield [CSVMetrics(directory / "metrics.csv", metrics)]
