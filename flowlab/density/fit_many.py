"""Train several modules of one structure in memory, as a stack: one call computes the gradients of all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from flowlab.config.errors import ConfigError
from flowlab.config.registry import lookup
from flowlab.optimizers.base import Optimizer, as_optimizer
from flowlab.targets.base import Target
from flowlab.training.build import EAGER
from flowlab.training.data import is_loader
from flowlab.training.fit import Fit, Plan, check_settings, make_job, train_jobs
from flowlab.training.step import trained


def fit_many(
    modules: Sequence[nn.Module],
    data: Any,
    *,
    seeds: Sequence[int] | None = None,
    validation: Any = 0.1,
    steps: int = 2000,
    batch_size: int = 512,
    lr: float | None = None,
    optimizer: str | Optimizer = "adam",
    directory: str | Path | None = None,
    **settings: Any,
) -> list[Fit]:
    """Train modules of one structure in place, together: for small modules far faster than one after another.

    Each module has its own minibatches, noise and best weights. Its numbers equal a run of `flowlab.fit` with its seed
    up to rounding. A module whose loss stops being finite keeps its last finite parameters, and the others continue.

    Arguments:
        modules: with a `loss`, or flows, which learn the density of the data.
        data, validation, steps, batch_size, lr, optimizer, settings: as in `flowlab.fit`, equal for all. The data are
            points in memory.
        seeds: the seeds of the minibatches and the split of each module; None is 0, 1, 2, ...
        directory: write metrics.csv and checkpoints into seed_0, seed_1, ... there; a call with the same arguments then
            resumes, to the same bits.

    Raises:
        ConfigError: the modules differ in structure, or a setting or the data cannot be used.
        DivergedError: the losses of all modules stopped being finite.

    Example:
        >>> import torch
        >>> from flowlab import Flow, StandardNormal
        >>> from flowlab.bijectors import LowRankAffine
        >>> from flowlab.density.fit_many import fit_many
        >>> flows = [Flow(StandardNormal(2), LowRankAffine(2)) for _ in range(3)]
        >>> x = 3 + torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> results = fit_many(flows, x, steps=50, lr=0.1, progress="off")
        >>> [result.steps for result in results]
        [50, 50, 50]
    """
    modules = list(modules)
    numbers = list(range(len(modules)) if seeds is None else seeds)
    _check(modules, numbers, data)
    trainer = check_settings(steps, batch_size, settings)
    if trainer.compile == "true":
        raise ConfigError("compile=true: a stack of modules in memory is not compiled; leave it out")
    goal = lookup("objective", "maximum_likelihood", "objective")()
    plan = Plan(trainer, steps, batch_size, as_optimizer(optimizer, lr), goal, validation)
    places = [None if directory is None else Path(directory, f"seed_{number}") for number in numbers]
    with ExitStack() as sinks:
        jobs = [
            make_job(plan, module, data, None, seed, place, sinks)
            for module, seed, place in zip(modules, numbers, places, strict=True)
        ]
        return train_jobs(jobs, plan, EAGER)


def _check(modules: Sequence[nn.Module], seeds: Sequence[int], data: Any) -> None:
    if not modules or len(seeds) != len(modules) or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={list(seeds)}: give one seed for each of the {len(modules)} modules, at least one")
    if isinstance(data, Target) or is_loader(data):
        raise ConfigError("data: a stack takes points in memory, such as a tensor; train each module with flowlab.fit")
    structures = [[(name, each.shape) for name, each in module.named_parameters()] for module in modules]
    if not trained(modules[0]) or structures.count(structures[0]) < len(modules):
        raise ConfigError(
            "modules: must have parameters of the same names and shapes, some of them to train; train others alone"
        )
