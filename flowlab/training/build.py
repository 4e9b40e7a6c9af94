"""A configuration becomes objects here, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch

from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.distributed.cluster import check_started
from flowlab.distributed.devices import check_devices, resolve_device
from flowlab.flow import Flow
from flowlab.flows._assemble import assemble
from flowlab.flows.base import DATA_POINTS
from flowlab.objectives.base import Objective
from flowlab.optimizers.base import Optimizer
from flowlab.seeding import generator
from flowlab.targets.base import Target
from flowlab.training.compile import choose
from flowlab.training.costs import Costs, check_memory, count_costs

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
    costs = count_costs(config, target)
    if costs is None:  # it needs numbers: build it for its errors
        shape = tuple(target.event_shape)
        assemble(config.flow, shape, target.context_shape, torch.Generator(), None, getattr(torch, config.dtype))
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
