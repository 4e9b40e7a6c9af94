"""Train a module in memory: no configuration, and no directory unless one is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flowlab.config.errors import ConfigError
from flowlab.config.registry import lookup
from flowlab.config.schema import TrainerConfig
from flowlab.config.typed import as_typed
from flowlab.distributions.base import as_points
from flowlab.flow import Flow
from flowlab.loggers._csv import CSVMetrics
from flowlab.metrics._evaluate import chunks, evaluate
from flowlab.objectives.base import Objective
from flowlab.optimizers.base import Optimizer
from flowlab.runs.checkpoint_contents import flow_weights
from flowlab.runs.checkpoint_file import read_checkpoint
from flowlab.seeding import generator
from flowlab.system.progress import build_progress
from flowlab.targets.base import Batch, ExactTarget, Target
from flowlab.training.batches import Batches, build_batches, epoch_batches
from flowlab.training.checkpoints import Best, Checkpoints
from flowlab.training.loop import Job, Loop
from flowlab.training.record import Measure, Record, metric_names

if TYPE_CHECKING:
    import pandas

VALIDATION_POINTS = 10_000  # fresh points of a target


@dataclass(frozen=True)
class Fit:
    """The course of a training.

    Attributes:
        rows: what was logged, by step: loss, metrics, grad_norm, lr, steps_per_second, seconds.
        steps: how many steps were taken.
        best_step: the step with the best validation; 0 without a validation.
        seconds: training time.
    """

    rows: dict[int, dict[str, float]] = field(repr=False)
    steps: int
    best_step: int
    seconds: float

    @property
    def history(self) -> pandas.DataFrame:
        """The logged rows as a table, with the step as index."""
        import pandas

        return pandas.DataFrame.from_dict(self.rows, orient="index").rename_axis("step")


def fit(
    flow: nn.Module,
    data: Any,
    *,
    context: Any = None,
    validation: Any = 0.1,
    steps: int = 2000,
    batch_size: int = 512,
    lr: float | None = None,
    optimizer: str | Optimizer = "adam",
    objective: str | Objective = "maximum_likelihood",
    seed: int = 0,
    metrics: Sequence[str] = (),
    directory: str | Path | None = None,
    **settings: Any,
) -> Fit:
    """Train a flow, or any module with a `loss`, in place.

    The loop and its numbers are those of `flowlab.train` with the same settings. After training on finite data the
    module has the weights of the best validation (early stopping, see `patience`), otherwise the last ones.

    Arguments:
        flow: a Flow; or a module whose method `loss(x)`, or `loss(x, context)`, gives a number to minimize.
        data: points of shape (n, *event) as a tensor, numpy array or DataFrame; a Target; or a DataLoader of batches x
            or (x, context).
        context: what the points are conditioned on, of shape (n, c); for a DataFrame also the names of its columns.
        validation: the fraction of the points that is held out; or held-out data of any of the kinds above; or None.
            A target draws its own.
        steps: optimizer steps.
        batch_size: points per step.
        lr: learning rate; None is the optimizer's default.
        optimizer: a name, as "adam", "adamw" or "sgd", or an object of `flowlab.optimizers`.
        objective: a name, as "maximum_likelihood" or "reverse_kl", or an object of `flowlab.objectives`.
        seed: of the minibatches and the split.
        metrics: further metrics by name.
        directory: write metrics.csv and checkpoints there; a call with the same arguments then resumes.
        settings: keys of `conf/trainer`, as log_every, validate_every, patience, precision, compile and progress.

    Raises:
        ConfigError: a setting or the data cannot be used.
        DivergedError: the loss stopped being finite; the module keeps the last finite parameters.

    Example:
        >>> import torch, flowlab
        >>> from flowlab import Flow, StandardNormal
        >>> from flowlab.bijectors import LowRankAffine
        >>> flow = Flow(StandardNormal(2), LowRankAffine(2))
        >>> x = 3 + torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> result = flowlab.fit(flow, x, steps=200, progress="off")
        >>> result.steps, bool(flow.log_prob(x).mean() > -3)
        (200, True)
    """
    trainer = as_typed(TrainerConfig, {"checkpoint_every": 1000, "threads": None} | settings, "")
    chosen, loss_of = _optimizer(optimizer, lr), _objective(objective)
    like = next((each for each in flow.parameters() if each.is_floating_point()), torch.zeros(()))
    batches, held_out, target = _batches(flow, data, context, validation, seed, batch_size, loss_of, like)
    loss, measure, metric = _loss_and_measure(flow, loss_of, target, held_out, metrics)
    record = Record(trainer, steps, chosen, measure)
    finite = target.train_size is not None if target else True
    best = Best(trainer, finite, metric)
    place = None if directory is None else Path(directory)
    if isinstance(batches, _LoaderBatches):
        trainer.compile = "false"  # batches of a loader differ in size
    job = Job(flow, loss, chosen, batches, record, Checkpoints(best, place, steps), inverse=loss_of.needs_points)
    with _sinks(place, metrics) as job.loggers:
        loop = Loop([job], trainer, steps)
        last = place and place / "checkpoints" / "last.ckpt"
        if last and last.exists():
            loop.restore([read_checkpoint(last)])
        loop.run(build_progress(trainer.progress))
    if job.failure is not None:
        raise job.failure
    if finite and best.state is not None:
        flow.load_state_dict(flow_weights(best.state))
    return Fit(record.rows, loop.step, best.step, record.seconds)


def _optimizer(optimizer: str | Optimizer, lr: float | None) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        if lr is not None:
            raise ConfigError(f"lr={lr}: the optimizer has a learning rate already; leave one of them out")
        return optimizer
    return as_typed(lookup("optimizer", optimizer), {} if lr is None else {"lr": lr}, "")


def _objective(objective: str | Objective) -> Objective:
    return objective if isinstance(objective, Objective) else lookup("objective", objective)()


def _loss_and_measure(
    module: nn.Module, objective: Objective, target: Target | None, held_out: Batch | None, metrics: Sequence[str]
) -> tuple[Callable[[Any, Batch], Tensor], Measure | None, str]:
    """The loss, the metrics of the held-out points, and the metric that the best weights have."""
    if isinstance(module, Flow):
        if target is not None:
            objective.check(target)
        elif objective.needs_density or not objective.needs_points:
            raise ConfigError(f"objective={objective.name}: needs a Target as data, not points")
        points, names = held_out, metric_names(metrics)
        return (
            lambda flow, batch: objective(flow, batch, target),  # type: ignore[arg-type]
            None if points is None else lambda flow: evaluate(flow, points, target).measure(names),  # type: ignore[arg-type]
            "nll",
        )
    if not callable(getattr(module, "loss", None)):
        raise ConfigError(f"fit: {type(module).__name__} is no Flow, and has no method loss(x); define one")

    def average(module: Any) -> dict[str, float]:
        assert held_out is not None
        with torch.no_grad():
            parts = [(len(part.x), float(module.loss(*part.tensors()))) for part in chunks(held_out)]
        return {"validation_loss": sum(n * value for n, value in parts) / len(held_out.x)}

    return lambda module, batch: module.loss(*batch.tensors()), held_out and average, "validation_loss"


def _batches(
    module: nn.Module,
    data: Any,
    context: Any,
    validation: Any,
    seed: int,
    batch_size: int,
    objective: Objective,
    like: Tensor,
) -> tuple[Batches, Batch | None, Target | None]:
    """The minibatches, the held-out points, and the target if the data are one."""
    held_out: Batch | None = None
    if not isinstance(validation, float | int | None):
        held_out = _as_batch(validation, context if isinstance(context, list) else None, like)
    if isinstance(data, Target):
        if isinstance(data, ExactTarget):
            data.to_(like.device)
        if held_out is None and validation:
            held_out = data.batch("validation", VALIDATION_POINTS, seed, like.dtype).to(like.device)
        assert isinstance(module, Flow) or objective.needs_points
        return build_batches(objective, module, data, seed, batch_size, like.dtype, like.device), held_out, data  # type: ignore[arg-type]
    if _is_loader(data):
        return _LoaderBatches(data, like), held_out, None
    rows = _as_batch(data, context, like)
    if held_out is None and validation:
        count = len(rows.x)
        size = max(2, round(validation * count))
        if not 0 < validation < 1 or count - size < 1:
            raise ConfigError(
                f"validation={validation}: of {count} points it leaves none to train on or to hold out; use a fraction "
                "between 0 and 1, points, or None"
            )
        order = torch.randperm(count, generator=generator(seed, "split")).to(rows.x.device)
        held_out = Batch(*(tensor[order[:size]] for tensor in rows.tensors()))
        rows = Batch(*(tensor[order[size:]] for tensor in rows.tensors()))
    return epoch_batches(rows, seed, batch_size), held_out, None


def _is_loader(data: Any) -> bool:
    return isinstance(data, Iterable) and not hasattr(data, "shape") and not isinstance(data, list | tuple)


def _as_batch(data: Any, context: Any, like: Tensor) -> Batch:
    """Data of any kind as points and contexts, on the module's device and in its dtype."""
    if isinstance(data, Target):
        return data.batch("validation", VALIDATION_POINTS, 0, like.dtype).to(like.device)
    if _is_loader(data):
        parts = [_of_loader(part, like) for part in data]
        return Batch(*(torch.cat(tensors) for tensors in zip(*(part.tensors() for part in parts), strict=True)))
    if isinstance(data, tuple):
        data, context = data
    if isinstance(context, list) and context and isinstance(context[0], str):
        missing = [name for name in context if name not in getattr(data, "columns", ())]
        if missing:
            raise ConfigError(f"context={missing[0]!r}: the data have no such column; give its values, or another name")
        data, context = data.drop(columns=context), data[context]
    x = as_points(data, like).detach().to(like.device, like.dtype)
    if not x.isfinite().all():
        bad = int(x.isfinite().logical_not().reshape(len(x), -1).any(-1).sum())
        raise ConfigError(f"data: {bad} of {len(x)} points hold NaN or infinity; remove or fill them first")
    return Batch(x) if context is None else Batch(x, as_points(context, like).detach().to(like.device, like.dtype))


def _of_loader(part: Any, like: Tensor) -> Batch:
    x, context = (*part, None, None)[:2] if isinstance(part, list | tuple) else (part, None)
    return _as_batch(x, context, like)


class _LoaderBatches(Batches):
    """The minibatches of a DataLoader, in its order, again and again."""

    def __init__(self, loader: Iterable[Any], like: Tensor) -> None:
        iterator = self._repeat(loader)
        drawn: dict[int, Batch] = {}

        def draw(step: int) -> Batch:
            if step not in drawn:
                drawn.clear()
                drawn[step] = _of_loader(next(iterator), like)
            return drawn[step]

        super().__init__(draw)

    @staticmethod
    def _repeat(loader: Iterable[Any]) -> Iterator[Any]:
        while True:
            empty = True
            for part in loader:
                empty = False
                yield part
            if empty:
                raise ConfigError("data: the loader gives no batch")


@contextlib.contextmanager
def _sinks(directory: Path | None, metrics: Sequence[str]) -> Iterator[list[Any]]:
    if directory is None:
        yield []
        return
    directory.mkdir(parents=True, exist_ok=True)
    yield [CSVMetrics(directory / "metrics.csv", metric_names(metrics))]
