"""A configuration becomes objects here, and nowhere else."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.distributed.cluster import check_started
from flowlab.distributed.world import World, check_gpus, resolve_device
from flowlab.flow import Flow
from flowlab.flows._assemble import Costs, assemble, check_flow, check_memory, last_bijector
from flowlab.flows.base import DATA_POINTS
from flowlab.metrics._samples import evaluate_samples
from flowlab.metrics.evaluation import Evaluation, check_metrics, evaluate
from flowlab.objectives.base import Objective
from flowlab.optimizers.base import Optimizer
from flowlab.seeding import generator, pick
from flowlab.targets.base import Batch, ExactTarget, Target
from flowlab.training.follow_data import follow_data
from flowlab.training.step import as_drawn

if TYPE_CHECKING:
    from flowlab.tables.schema import Schema

Known = dict[str, Any]  # targets, and costs of flows, by their settings: the jobs of a sweep share them
T = TypeVar("T")

# A run of this many steps or more is compiled by default. A compilation takes 10 to 100 s on a common server, and saves
# 0.2 ms a step and layer of a small flow: by count of steps alone, so the same command makes the same choice.
MANY_STEPS = 20_000
# Likewise for the stacks of a sweep: compiled, they save 0.2 to 0.3 ns a byte, and each process compiles for 20 s.
MANY_BYTES = 150e9


@dataclass
class Experiment:
    """The objects that a configuration describes.

    Attributes:
        config: the configuration, with a value for each setting that follows the data.
        target, flow: the distribution to learn, and the flow before its first step.
        objective, optimizer: the loss and the update.
        costs, dtype: the flow's costs, if they could be counted; the dtype of points and parameters.
    """

    config: Config
    target: Target
    flow: Flow
    objective: Objective
    optimizer: Optimizer
    costs: Costs | None
    dtype: torch.dtype


class Checked(NamedTuple):
    """A configuration that was checked, with a value for each setting that follows the data; and what was built."""

    config: Config
    target: Target
    costs: Costs | None


def build(config: Config, here: bool = True, known: Known | None = None, checked: Checked | None = None) -> Experiment:
    """Build every object of a configuration, each once.

    Arguments:
        config: the configuration.
        here: it will run on this machine, so check what that has.
        known: what `check` found for other configurations; what it finds for this one is added.
        checked: what `check` gave, if it was called before.

    Raises:
        ConfigError: parts of the configuration that do not fit each other or this machine.
    """
    config, target, costs = checked or check(config, here, known)
    dtype, draws = getattr(torch, config.dtype), generator(config.seed, "start")
    units = last_bijector(target, config.objective.needs_density)
    flow = assemble(config.flow, tuple(target.event_shape), target.context_shape, draws, units, dtype)
    if config.flow.initialized_from_data and target.has_points:
        config.flow.initialize(flow, target.batch("train", DATA_POINTS, config.seed, dtype), draws)
    config.objective.check_training(target, flow, config.max_steps)
    return Experiment(config, target, flow, config.objective.build(), config.optimizer.build(), costs, dtype)


def check(config: Config, here: bool = True, known: Known | None = None) -> Checked:
    """Check all that can be checked before the flow is built; arguments and ConfigErrors as in build."""
    target = _find(known, config.target, [], config.target.build)
    config = follow_data(config, target) if config.waits_for_data else config
    trainer, dtype = config.trainer, getattr(torch, config.dtype)
    if here and trainer.launcher != "flowlab":
        check_started(trainer)
    if config.batch_size % trainer.processes:
        raise ConfigError(
            f"batch_size={config.batch_size}: is shared by {trainer.processes} processes, "
            f"trainer.devices={trainer.devices} on each of trainer.nodes={trainer.nodes}, and must be a multiple of "
            "their number"
        )
    shapes = tuple(target.event_shape), target.context_shape
    if target.context_shape is not None and not config.flow.takes_context:
        raise ConfigError(
            f"flow={config.flow.name}: takes no context, but target={config.target.name} has one; use a flow that "
            "does, such as flow=nsf, or leave out target.context"
        )
    costs = _find(known, config.flow, [shapes, config.dtype], lambda: check_flow(config.flow, *shapes, dtype))
    if here:
        check_memory(config, target, costs)
        device = resolve_device(trainer.accelerator).type
        if device != "cpu":
            check_gpus(trainer)
        if choose(trainer.compile, config.max_steps, device).compiled and not target.stackable:
            raise ConfigError(
                "trainer.compile: the step would be compiled, but the function of the target branches on values, "
                "which torch.func.vmap does not take; use trainer.compile=false"
            )
    target.check(dtype, config.seed)
    for logger in config.logger.values():
        logger.check()
    check_metrics(config.metrics, target)
    config.objective.check_training(target, None, config.max_steps)
    if trainer.precision == "bf16-mixed" and config.dtype != "float32":
        raise ConfigError(
            f"trainer.precision=bf16-mixed: lowers products of float32, but dtype={config.dtype}; use dtype=float32 or "
            "trainer.precision=full"
        )
    return Checked(config, target, costs)


def _find(known: Known | None, component: Component, others: list[Any], make: Callable[[], T]) -> T:
    if known is None:
        return make()
    key = json.dumps([component.to_dict(), *others], sort_keys=True, default=str)
    if key not in known:
        known[key] = make()
    return known[key]


class Choice(NamedTuple):
    """Whether the step is compiled, and why, in words."""

    compiled: bool
    why: str


EAGER = Choice(False, "a stack")


def choose(wish: str, max_steps: int, device: str = "cpu", stacked_bytes: float | None = None) -> Choice:
    """Decide whether to compile the step, by the configuration alone.

    Arguments:
        wish: trainer.compile.
        max_steps, device: the steps of a run, and the kind of its device.
        stacked_bytes: for the jobs of a sweep that can be stacked, the bytes that all their steps go through.

    Raises:
        ConfigError: it must be compiled, and a part is missing.
    """
    if wish == "false":
        return Choice(False, "trainer.compile=false")
    missing = _missing()
    if wish == "true":
        if missing:
            raise ConfigError(f"trainer.compile=true: there is no {missing}; use trainer.compile=auto")
        return Choice(True, "trainer.compile=true")
    if device != "cpu":
        return Choice(False, "auto compiles on a CPU alone; trainer.compile=true asks for it")
    if stacked_bytes is not None:
        few = "" if stacked_bytes >= MANY_BYTES else ", too few for a compilation"
        why = f"the steps of the stacks go through {stacked_bytes / 1e9:.0f} GB{few}"
        return Choice(not few and not missing, f"{why}, but there is no {missing}" if missing and not few else why)
    if max_steps < MANY_STEPS:
        return Choice(False, f"{max_steps} steps are fewer than {MANY_STEPS}, from which a compilation pays")
    if missing:
        return Choice(False, f"{max_steps} steps are many, but there is no {missing}")
    return Choice(True, f"from {MANY_STEPS} steps a compilation pays, and there are {max_steps}")


def _missing() -> str | None:
    """Name a part that torch.compile needs and this machine lacks."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(shlex.split(compiler)[0]) is None:
        return f"C++ compiler {compiler!r}"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.is_file() else "Python.h, the headers of Python for C"


@dataclass(frozen=True)
class Batches:
    """The minibatch of a step as a function of (seed, step) alone: nothing to save, nothing for evaluation to disturb.

    Attributes:
        draw: gives the random numbers behind the minibatch of a step.
        from_draws: makes minibatches of draws, also of draws with more leading dimensions. It is arithmetic alone, so
            it can be compiled together with the loss; equal for all runs on one target.
    """

    draw: Callable[[int], Batch]
    from_draws: Callable[[Batch], Batch] = as_drawn

    def __call__(self, step: int) -> Batch:
        return self.from_draws(self.draw(step))


def build_batches(
    objective: Objective,
    flow: Flow,
    target: Target,
    seed: int,
    batch_size: int,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Batches:
    """The minibatches that an objective needs: fresh points, rows of the training data, or points of the base."""
    if not objective.needs_points:
        return Batches(
            lambda step: Batch(flow.rsample_base((batch_size,), None, generator(seed, "base", step, device)))
        )
    if isinstance(target, ExactTarget) and target.train_size is None:
        exact = target
        return Batches(
            lambda step: exact.draw_batch(batch_size, generator(seed, "train", step, device), dtype),
            exact.batch_from_draws,
        )
    rows = target.batch("train", 0, seed, dtype).to(device)
    return epoch_batches(rows, seed, batch_size, target.row_weights("train"), target.schema)


def build_scorer(target: Target, split: str, count: int, seed: int, like: Tensor) -> Callable[..., Evaluation]:
    """A function of a flow, and of the ranks if there are several, that scores it on a split of its target.

    A target without points has splits too: of samples of the flow, made from the same noise in every call.

    Arguments:
        target: the target.
        split: "validation" or "test".
        count: the number of points, unless the target has a finite set of them.
        seed: the run's seed.
        like: a tensor with the dtype and the device of the flow.
    """
    if target.has_points:
        held_out, weights = target.batch(split, count, seed, like.dtype).to(like.device), target.row_weights(split)
        quick = split == "validation"
        return lambda flow, world=None: evaluate(flow, held_out, target, world, weights, quick)

    def score(flow: Flow, world: World | None = None) -> Evaluation:
        draws = generator(seed, f"{split} samples", device=like.device)
        return evaluate_samples(flow, target, count, draws, world)  # type: ignore[arg-type]

    return score


def epoch_batches(
    rows: Batch, seed: int, batch_size: int, weights: Tensor | None = None, schema: Schema | None = None
) -> Batches:
    """Rows in a new random order each epoch; the orders, laid end to end, are cut into minibatches.

    With weights, of shape (n,), an epoch has a row as often as its share of the weights says, up to one. With a schema
    its discrete columns have new noise in every minibatch.
    """
    count, renew = len(rows.x), schema.fresh_noise(rows.x) if schema else None

    @lru_cache(maxsize=2)
    def order(epoch: int) -> torch.Tensor:
        draws = generator(seed, "order", epoch)
        order = torch.randperm(count, generator=draws)
        return (order if weights is None else pick(weights, count, draws)[order]).to(rows.x.device)

    def draw(step: int) -> Batch:
        first, end = step * batch_size, (step + 1) * batch_size
        epochs = range(first // count, (end - 1) // count + 1)
        picked = torch.cat([order(epoch) for epoch in epochs]) if len(epochs) > 1 else order(epochs[0])
        offset = first - epochs[0] * count
        batch = Batch(*(tensor[picked[offset : offset + batch_size]] for tensor in rows.tensors()))
        if renew is None:
            return batch
        return batch._replace(x=renew(batch.x, generator(seed, "noise", step, batch.x.device)))

    return Batches(draw)
