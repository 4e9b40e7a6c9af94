"""Train several modules of one structure in memory, as a stack: one call computes the gradients of all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.config.registry import lookup
from flowlab.flows._assemble import facts_of
from flowlab.loggers.base import rows_after
from flowlab.optimizers.base import Optimizer, as_optimizer
from flowlab.runs.checkpoint import flow_weights
from flowlab.runs.record import Checkpoints, Record
from flowlab.system.display import RunProgress
from flowlab.system.files import read_checkpoint
from flowlab.system.process import print_line
from flowlab.targets.base import Target
from flowlab.training.build import Choice
from flowlab.training.data import add_noise, batches_of_data, is_loader
from flowlab.training.fit import Fit, _loss, _measure, _settings, _sinks
from flowlab.training.loop import Job, Loop
from flowlab.training.step import trained

EAGER = Choice(False, "a stack")


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
    trainer = _settings(steps, batch_size, settings)
    if trainer.compile == "true":
        raise ConfigError("compile=true: a stack of modules in memory is not compiled; leave it out")
    chosen, goal = as_optimizer(optimizer, lr), lookup("objective", "maximum_likelihood", "objective")()
    places = [None if directory is None else Path(local_path("directory", directory), f"seed_{n}") for n in numbers]
    jobs: list[Job] = []
    with ExitStack() as stack:
        for module, seed, place in zip(modules, numbers, places, strict=True):
            like = trained(module)[0]
            batches, held_out = batches_of_data(module, goal, data, None, validation, seed, batch_size, like)
            batches, held_out = add_noise(module, batches, held_out, seed)
            names, measure = _measure(module, None, held_out, (), validation, seed)
            job = Job(
                module=module,
                loss=_loss(module, goal, None, steps),
                optimizer=chosen,
                batches=batches,
                record=Record(trainer, steps, chosen, measure),
                checkpoints=Checkpoints(trainer, steps, place, True, metric=names[0]),
                shape=facts_of(module),
            )
            job.loggers = stack.enter_context(_sinks(place, names))
            jobs.append(job)
        results: dict[int, Fit] = {}
        for same, saved in _groups_of_step(places):
            loop = Loop([jobs[n] for n in same], trainer, steps, None, False, EAGER)
            if saved:
                _restore(loop, saved)
            loop.run(None if trainer.progress == "off" else RunProgress(trainer.progress))
            results |= {n: _finish(jobs[n], places[n], loop.step) for n in same}
    failures = [job.failure for job in jobs if job.failure is not None]
    if len(failures) == len(jobs):
        raise failures[0]
    return [results[n] for n in range(len(jobs))]


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


def _groups_of_step(places: Sequence[Path | None]) -> list[tuple[list[int], list[Path]]]:
    """Jobs that have reached the same step, and their last checkpoints; a kill may come between two files."""
    groups: dict[int, tuple[list[int], list[Path]]] = {}
    for number, place in enumerate(places):
        last = None if place is None else place / "checkpoints/last.ckpt"
        if last is None or not last.exists():
            groups.setdefault(0, ([], []))[0].append(number)
            continue
        try:
            step = int(read_checkpoint(last)["global_step"])
        except (ValueError, LookupError, TypeError, OSError):
            raise ConfigError(f"{last}: is damaged, or not of this training; choose another directory") from None
        members, saved = groups.setdefault(step, ([], []))
        members.append(number)
        saved.append(last)
    return list(groups.values())


def _restore(loop: Loop, saved: Sequence[Path]) -> None:
    try:
        loop.restore([read_checkpoint(path) for path in saved])
    except (ValueError, LookupError, RuntimeError, OSError):
        raise ConfigError(
            f"{saved[0]}: it or one beside it is of another module or optimizer; choose another directory"
        ) from None


def _finish(job: Job, place: Path | None, step: int) -> Fit:
    """The course of a job's training; its module gets the best weights, unless it has diverged."""
    if job.failure is not None:
        print_line(f"{'a module of the stack' if place is None else place}: {job.failure}")
    elif job.checkpoints.has_best:
        best = job.checkpoints.best or read_checkpoint(Path(place or "", "checkpoints/best.ckpt"))
        job.module.load_state_dict(flow_weights(best))
    rows = dict(rows_after(place / "metrics.csv", 0)) if place else job.record.rows
    return Fit(job.module, rows, step, job.checkpoints.best_step, job.record.seconds)
