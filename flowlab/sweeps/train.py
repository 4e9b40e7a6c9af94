"""Training many configurations: stacked where their shapes allow, one by one where they do not."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from flowlab.config import to_config, to_dict
from flowlab.schemas import Config
from flowlab.sweeps.stack import Job, StackCheckpoints, StackModule, stack_key
from flowlab.targets.base import Target
from flowlab.training.check import check_run
from flowlab.training.checkpoints import Saving
from flowlab.training.directory import Run, begin
from flowlab.training.loggers import open_loggers
from flowlab.training.outcome import write_outcome
from flowlab.training.progress import progress_callback
from flowlab.training.run import carry_out, initial_flow, new_record, what_to_minimise
from flowlab.training.status import told
from flowlab.training.surroundings import interruptible, quiet_lightning, threads


def train_many(configs: Sequence[Config], directories: Sequence[Path], group: str | None = None) -> list[Run]:
    """Train every configuration into its own directory; a job that fails says so there and stops no other.

    Arguments:
        configs: the jobs, in any mixture of shapes.
        directories: a new or empty directory for each.
        group: what the jobs are called together.

    Raises:
        ConfigError: a configuration that cannot be run, or a directory that holds something.
    """
    configs = [to_config(to_dict(config)) for config in configs]
    targets = [check_run(config) for config in configs]
    runs = [
        begin(config, target, directory, group)
        for config, target, directory in zip(configs, targets, directories, strict=True)
    ]
    stacks: dict[str, list[tuple[Run, Target]]] = {}
    for run, target in zip(runs, targets, strict=True):
        stacks.setdefault(stack_key(run.config, target.dim), []).append((run, target))
    print(describe(len(runs), [len(stack) for stack in stacks.values()]), file=sys.stderr)
    for stack in stacks.values():
        if len(stack) > 1 and stack[0][0].config.trainer.accelerator == "cpu":
            train_stack(stack)
            continue
        for run, target in stack:  # stacks are for the CPU so far
            with contextlib.suppress(Exception):  # its directory says what happened
                carry_out(run, target)
    return runs


def describe(jobs: int, sizes: Sequence[int]) -> str:
    """How jobs are grouped, in words.

    Example:
        >>> from flowlab.sweeps.train import describe
        >>> describe(25, [8, 8, 8, 1])
        '25 jobs: 3 stacks of 8, 1 alone'
    """
    parts = []
    for size in sorted(set(sizes), reverse=True):
        count = list(sizes).count(size)
        parts.append(f"{count} alone" if size == 1 else f"{count} stack{'s' if count > 1 else ''} of {size}")
    return f"{jobs} job{'s' if jobs > 1 else ''}: {', '.join(parts)}"


def train_stack(stack: Sequence[tuple[Run, Target]]) -> None:
    """Train jobs of equal keys together, from step 0 or all from the step of their checkpoints."""
    jobs = [_job(run, target) for run, target in stack]
    config = jobs[0].run.config
    with contextlib.ExitStack() as surroundings:
        surroundings.enter_context(quiet_lightning())
        surroundings.enter_context(threads(config.trainer.threads))
        for job in jobs:
            job.loggers = surroundings.enter_context(open_loggers(job.run))
        module = StackModule(jobs)
        trainer = pl.Trainer(
            max_steps=config.max_steps,
            accelerator="cpu",
            devices=1,
            logger=False,
            callbacks=[c for c in (StackCheckpoints(), progress_callback(config.trainer.progress)) if c is not None],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with told(*(job.run for job in jobs), to_the_end=False), _resumable(module) as checkpoint, interruptible():
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
        for place, job in enumerate(jobs):
            with contextlib.suppress(Exception), told(job.run):  # what went wrong is then in its directory
                _finish(module, place, trainer.global_step)


def _job(run: Run, target: Target) -> Job:
    flow = initial_flow(run.config, target)
    stream, objective = what_to_minimise(run.config, flow, target, "cpu")
    return Job(run, target, flow, stream, objective, new_record(run.config, target, "cpu"), Saving(run.config))


def _finish(module: StackModule, place: int, steps: int) -> None:
    job = module.jobs[place]
    if job.failure is not None:
        raise job.failure
    module.load_flow(place)
    training = {
        "steps": steps,
        "best_step": job.saving.best_step,
        "seconds": job.record.seconds,
        "steps_per_second": steps / job.record.seconds,
    }
    write_outcome(job.run, job.flow, job.target, training, job.loggers)


@contextlib.contextmanager
def _resumable(module: StackModule) -> Iterator[str | None]:
    """A checkpoint of the loop to start from, if the jobs have checkpoints, and every job put where its own has it."""
    found = [job.run.directory / "checkpoints" / "last.ckpt" for job in module.jobs]
    if not found[0].exists():
        yield None
        return
    checkpoints: list[dict[str, Any]] = [job.run.checkpoint("last") for job in module.jobs]
    for place, checkpoint in enumerate(checkpoints):
        module.restore(place, checkpoint)
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/loop.ckpt"
        torch.save(checkpoints[0] | {"state_dict": {}, "optimizer_states": [], "callbacks": {}}, path)
        yield path
