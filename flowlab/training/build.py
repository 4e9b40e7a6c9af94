"""A configuration becomes objects here, and nowhere else."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import psutil
import torch

from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.distributed.cluster import check_started
from flowlab.distributed.devices import check_devices, resolve_device
from flowlab.flow import Flow
from flowlab.flows._assemble import Costs, assemble, count_costs
from flowlab.flows.base import DATA_POINTS
from flowlab.objectives.base import Objective
from flowlab.optimizers.base import Optimizer
from flowlab.seeding import generator
from flowlab.targets.base import Target
from flowlab.training.compile import choose

Targets = dict[str, Target]  # by their settings: jobs of a sweep share a target


@dataclass
class Experiment:
    """The objects that a configuration describes.

    Attributes:
        config: the configuration.
        target: the distribution to learn.
        flow: before its first step.
        objective, optimizer: the loss and the update.
        costs: the flow's, if they could be counted.
    """

    config: Config
    target: Target
    flow: Flow
    objective: Objective
    optimizer: Optimizer
    costs: Costs | None

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.config.dtype)


def build(config: Config, here: bool = True, targets: Targets | None = None) -> Experiment:
    """Build every object of a configuration, each once.

    Arguments:
        config: the configuration.
        here: it will run on this machine, so check what that has.
        targets: targets that are built already; a new one is added.

    Raises:
        ConfigError: parts of the configuration that do not fit each other or this machine.
    """
    target, costs = check(config, here, targets)
    dtype, draws = getattr(torch, config.dtype), generator(config.seed, "start")
    flow = assemble(config.flow, tuple(target.event_shape), target.context_shape, draws, target.standardization, dtype)
    if config.flow.initialized_from_data:
        config.flow.initialize(flow, target.batch("train", DATA_POINTS, config.seed, dtype), draws)
    return Experiment(config, target, flow, config.objective.build(), config.optimizer.build(), costs)


def check(config: Config, here: bool = True, targets: Targets | None = None) -> tuple[Target, Costs | None]:
    """Check all that can be checked before the flow is built; see build.

    Raises:
        ConfigError: see build.
    """
    targets = {} if targets is None else targets
    key = json.dumps(config.target.to_dict(), sort_keys=True, default=str)
    if key not in targets:
        targets[key] = config.target.build()
    target, trainer = targets[key], config.trainer
    config.flow.check(tuple(target.event_shape))
    shape, dtype = tuple(target.event_shape), getattr(torch, config.dtype)
    costs = count_costs(config.flow, shape, target.context_shape, dtype)
    if costs is None:  # it needs numbers: build it for its errors
        assemble(config.flow, shape, target.context_shape, torch.Generator(), None, dtype)
    if here:
        check_started(trainer)
        check_memory(config, target, costs)
        check_devices(trainer)
        choose(trainer.compile, config.max_steps, resolve_device(trainer.accelerator).type)
    target.check(getattr(torch, config.dtype), config.seed)
    for logger in config.logger.values():
        logger.check()
    config.objective.check(target)
    if trainer.precision == "bf16-mixed" and config.dtype != "float32":
        raise ConfigError(
            f"trainer.precision=bf16-mixed: lowers products of float32, but dtype={config.dtype}; use dtype=float32 or "
            "trainer.precision=full"
        )
    if config.batch_size % trainer.processes:
        raise ConfigError(
            f"batch_size={config.batch_size}: is shared by {trainer.processes} processes, "
            f"trainer.devices={trainer.devices} on each of trainer.nodes={trainer.nodes}, and must be a multiple of "
            "their number"
        )
    return target, costs


def check_memory(config: Config, target: Target, costs: Costs | None) -> None:
    """Refuse sizes that do not fit into memory.

    Raises:
        ConfigError: the flow, a minibatch or a set of points is too large.
    """
    free = psutil.virtual_memory().available
    point = math.prod(target.event_shape) * getattr(torch, config.dtype).itemsize
    rows = (0 if target.fingerprint else target.train_size) or 0
    needs = [
        ("validation_size", config.validation_size, 4 * config.validation_size * point),
        ("test_size", config.test_size, 8 * config.test_size * point),
        ("target.train_size", rows, 4 * rows * point),
    ]
    if costs is not None:
        needs.insert(0, ("batch_size", config.batch_size, costs.of_step(config.batch_size)))
        if costs.memory > free:
            raise ConfigError(
                f"flow={config.flow.name}: for the {target.dim} columns of the target the flow would have "
                f"{costs.parameters:,} parameters and training would take {costs.memory / 1e9:,.1f} GB where "
                f"{free / 1e9:,.1f} GB are free: pick columns with target.columns, or make the flow smaller, as with "
                "flow.depth or flow.scale=diag"
            )
    for name, count, needed in needs:
        if needed > free:
            raise ConfigError(
                f"{name}={count}: would take about {needed / 1e9:,.0f} GB where {free / 1e9:,.1f} GB are free"
            )
