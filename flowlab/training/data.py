"""A user's points of any kind as batches: tensors, arrays, DataFrames, DataLoaders and targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from flowlab.config.directories import training_settings
from flowlab.config.errors import ConfigError
from flowlab.distributions.base import as_points
from flowlab.flow import Flow
from flowlab.objectives.base import Objective
from flowlab.seeding import generator
from flowlab.system.process import print_line
from flowlab.targets._columns import Table
from flowlab.targets.base import Batch, ExactTarget, Target
from flowlab.training.build import Batches, build_batches, epoch_batches

VALIDATION_POINTS = 10_000  # fresh points of a target
EXACT = torch.empty(0, dtype=torch.float64)  # checks see the values before they are rounded to the flow's dtype


def is_loader(data: Any) -> bool:
    """Whether data are an iterable of batches, such as a DataLoader."""
    return isinstance(data, Iterable) and not hasattr(data, "shape") and not isinstance(data, list | tuple | dict | str)


def as_batch(data: Any, context: Any, like: Tensor, name: str = "data") -> Batch:
    """Points, a pair (points, context), a Target or a DataLoader as points and contexts, on the device of `like`.

    A context may be a list of columns of the points. `name` names the data in messages.

    Raises:
        ConfigError: they are no finite numbers, are empty, or have contexts of another number.
    """
    if isinstance(data, Target):
        return data.batch("validation", VALIDATION_POINTS, 0, like.dtype).to(like.device)
    if is_loader(data):
        parts = [_batch_of_loader(part, like, name) for part in data]
        if not parts:
            raise ConfigError(f"{name}: the loader gives no batch")
        return Batch(*(torch.cat(tensors) for tensors in zip(*(part.tensors() for part in parts), strict=True)))
    if isinstance(data, tuple):
        data, context = data
    context = [context] if isinstance(context, str) else context
    if isinstance(context, list) and context and isinstance(context[0], str):
        missing = [column for column in context if column not in getattr(data, "columns", ())]
        if missing:
            raise ConfigError(
                f"context={missing[0]!r}: {name} has no such column; give the values, or the name of a column"
            )
        data, context = data.drop(columns=context), data[context]
    x = _finite(data, like, name)
    if context is None:
        return Batch(x)
    given = _finite(context, like, "context")
    if given.ndim < 2:
        raise ConfigError(f"context of shape {tuple(given.shape)}: give a row for each point, as with context[:, None]")
    if len(given) != len(x):
        raise ConfigError(f"context: {len(given)} rows for {len(x)} points of {name}; give one row for each point")
    return Batch(x, given)


class LoaderBatches(Batches):
    """The minibatches of a DataLoader, again and again, which can be asked for in order alone."""

    def __init__(self, loader: Iterable[Any], like: Tensor) -> None:
        batches = _repeat(loader, like)
        drawn: dict[int, Batch] = {}

        def draw(step: int) -> Batch:
            if step not in drawn:
                drawn.clear()  # the last one is asked for again when it has made training diverge
                drawn[step] = next(batches)
            return drawn[step]

        super().__init__(draw)


def optimizer_settings(data: Any, steps: int) -> dict[str, Any]:
    """The optimizer's settings for learning the density of some data. Points in memory have the settings of a file.

    The warm-up takes at most a tenth of the steps, which may be few here.
    """
    preset = data.preset if isinstance(data, Target) else None if is_loader(data) else "file"
    if preset is None:
        return {}
    settings = training_settings(preset)["optimizer"]
    return settings | {"warmup": min(settings["warmup"], steps // 10)}


def check_points(data: Any, context: Any, rows: Tensor, train: Tensor, dtype: torch.dtype) -> list[str]:
    """Check points in memory like the rows of a file, and return the notes about them.

    Points of other shapes than (n,) and (n, d) have no columns.

    Arguments:
        data, context: as in `as_batch`; a DataFrame names the columns.
        rows, train: all points, and the training points, in float64.
        dtype: the flow's.

    Raises:
        DataError: a column is constant, a linear function of others, or not held by the dtype.
    """
    if rows.ndim > 2:
        return []
    values, training = (each.reshape(len(each), -1).numpy() for each in (rows, train))
    frame = data[0] if isinstance(data, tuple) else data
    left_out = [context] if isinstance(context, str) else context if isinstance(context, list) else []
    names = [str(name) for name in getattr(frame, "columns", ()) if name not in left_out]
    table = Table("data", names or [f"x{number + 1}" for number in range(values.shape[1])])
    table.check_rows(len(values))
    notes = table.check_density(training) + table.describe(values)
    table.check_rounding(values, training.std(0).tolist(), str(dtype).removeprefix("torch."))
    return notes


def batches_of_data(
    flow: nn.Module,
    objective: Objective,
    data: Any,
    context: Any,
    validation: Any,
    seed: int,
    batch_size: int,
    like: Tensor,
) -> tuple[Batches, Batch | None]:
    """The minibatches, and the held-out points."""
    held_out: Batch | None = None
    if not isinstance(validation, float | int | None):
        held_out = as_batch(validation, context if isinstance(context, list) else None, like, "validation")
        if len(held_out.x) < 2:
            raise ConfigError("validation: holds 1 point; give at least 2, a fraction between 0 and 1, or None")
    if (isinstance(data, Target) or is_loader(data)) and context is not None:
        raise ConfigError("context: the data give their contexts themselves, in batches (x, context); leave it out")
    if isinstance(data, Target):
        if isinstance(data, ExactTarget):
            data.to_(like.device)
        if held_out is None and validation and data.has_points:
            held_out = data.batch("validation", VALIDATION_POINTS, seed, like.dtype).to(like.device)
        return build_batches(objective, flow, data, seed, batch_size, like.dtype, like.device), held_out  # type: ignore[arg-type]
    if is_loader(data):
        return LoaderBatches(data, like), held_out
    rows = train = as_batch(data, context, EXACT if isinstance(flow, Flow) else like)
    if held_out is None and validation:
        train, held_out = split(rows, validation, seed)
        held_out = held_out.to(like.device, like.dtype)
    for note in check_points(data, context, rows.x, train.x, like.dtype) if isinstance(flow, Flow) else ():
        print_line(note)
    return epoch_batches(train.to(like.device, like.dtype), seed, batch_size), held_out


def add_noise(module: nn.Module, batches: Batches, held_out: Batch | None, seed: int) -> tuple[Batches, Batch | None]:
    """Give every minibatch the random numbers that the loss of a module needs, as its context.

    A module with a method `draw_noise(x, generator)` gets a stream for each step, which depends on the seed and the
    step alone. The held-out points have one draw for all validations.

    Raises:
        ConfigError: the data have contexts.
    """
    draw_noise = getattr(module, "draw_noise", None)
    if draw_noise is None:
        return batches, held_out
    for batch in (batches(0), held_out or batches(0)):
        if batch.context is not None:
            raise ConfigError(
                f"context: {type(module).__name__} draws noise, which its loss gets in place of a context; leave it out"
            )

    def draw(step: int) -> Batch:
        x = batches(step).x
        return Batch(x, draw_noise(x, generator(seed, "loss", step, x.device)))

    if held_out is not None:
        held_out = Batch(
            held_out.x, draw_noise(held_out.x, generator(seed, "loss of validation", 0, held_out.x.device))
        )
    return Batches(draw), held_out


def split(rows: Batch, fraction: float, seed: int) -> tuple[Batch, Batch]:
    """Rows in a random order, as training rows and held-out rows; a ConfigError if one of the two would be empty."""
    count = len(rows.x)
    size = max(2, round(fraction * count))
    if not 0 < fraction < 1 or count - size < 1:
        raise ConfigError(
            f"validation={fraction}: of {count} points it leaves none to train on or to hold out; use a fraction "
            "between 0 and 1, points, or None"
        )
    order = torch.randperm(count, generator=generator(seed, "split")).to(rows.x.device)
    held_out, training = (
        Batch(*(tensor[part] for tensor in rows.tensors())) for part in order.split([size, count - size])
    )
    return training, held_out


def _repeat(loader: Iterable[Any], like: Tensor) -> Iterator[Batch]:
    """The batches of a loader in its order, again and again."""
    while True:
        empty = True
        for part in loader:
            empty = False
            yield _batch_of_loader(part, like)
        if empty:
            raise ConfigError("data: the loader gives no batch")


def _batch_of_loader(part: Any, like: Tensor, name: str = "data") -> Batch:
    """A batch x, (x,) or (x, context) of a DataLoader."""
    x, context = (*part, None, None)[:2] if isinstance(part, list | tuple) else (part, None)
    return as_batch(x, context, like, name)


def _finite(values: Any, like: Tensor, name: str) -> Tensor:
    try:
        x = as_points(values, like).detach().to(like.device, like.dtype)
    except ValueError as error:
        raise ConfigError(f"{name}: {str(error).removeprefix('points: ')}") from None
    if not x.numel() or not x.ndim:
        raise ConfigError(f"{name}: of shape {tuple(x.shape)}: holds no points; give an array of shape (n, d)")
    if not x.isfinite().all():
        bad = int(x.isfinite().logical_not().reshape(len(x), -1).any(-1).sum())
        raise ConfigError(f"{name}: {bad} of {len(x)} rows hold NaN or infinity; remove or fill them first")
    return x
