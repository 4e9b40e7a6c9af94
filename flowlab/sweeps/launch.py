"""Training many configurations: stacked where their shapes allow, one by one where they do not."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from flowlab.config.compose import to_config, to_dict
from flowlab.config.schemas import Config, ConfigError
from flowlab.distributed.devices import resolve_device
from flowlab.distributed.stopping import GracefulStop
from flowlab.flows.mlp import layers
from flowlab.loggers.open import open_loggers
from flowlab.runs.directory import Run, located
from flowlab.runs.status import fail, interrupt, told
from flowlab.sweeps.data import check_same_data
from flowlab.sweeps.groups import bytes_of_job, describe, parts, stack_key, stackable
from flowlab.sweeps.pool import share_out
from flowlab.sweeps.progress import Reporter, sweep_progress
from flowlab.sweeps.stack import Job, StackCheckpoints, StackFigures, StackModule
from flowlab.system.display import print_line
from flowlab.system.process import set_threads, silence_lightning
from flowlab.system.signals import STOP_HANDLERS, handle_signals
from flowlab.targets.base import Target
from flowlab.training.check import check_run
from flowlab.training.checkpoints import Saving
from flowlab.training.initial_flow import initial_flow
from flowlab.training.optimizer import build_optimizer
from flowlab.training.report import write_outcome
from flowlab.training.train import begun, carry_out, device_of, new_record, opened, what_to_minimise

Member = tuple[Run, Target]


@dataclass(frozen=True)
class Piece:
    """Jobs that one process trains: together, or one alone.

    Attributes:
        members: each as the run that its directory holds or will hold, and its target.
        stacked: whether they are trained together.
        group: the sweep.
    """

    members: list[Member]
    stacked: bool
    group: str | None

    @property
    def config(self) -> Config:
        return self.members[0][0].config

    def carry_out(self, send: Callable[[int], None]) -> None:
        """Train them; what goes wrong is then in their directories."""
        opened: list[Member] = []
        try:
            opened += (member for member in self.members if _open(*member, self.group))
            if self.stacked and opened:
                train_stack(opened, Reporter(send))
            elif opened:
                carry_out(*opened[0], Reporter(send))
        except (KeyboardInterrupt, SystemExit):
            for run, _ in opened:
                if run.status.get("status") == "running":
                    interrupt(run)
            raise
        except Exception as error:
            for run, _ in opened:
                _see_that_it_ended(run, error)


def train_many(
    configs: Sequence[Config],
    directories: Sequence[Path],
    group: str | None = None,
    processes: int = 1,
    memory_gb: float = 2.0,
    ended: Callable[[Run], None] = lambda run: None,
    say: Callable[[str], None] = print,
) -> list[Run]:
    """Train every configuration into its own directory; a job that fails says so there and stops no other.

    A job that is done already is left as it is, and one that was stopped goes on from its last checkpoint. Its numbers
    depend neither on the jobs beside it in a stack, but for rounding where `trainer.compile=true`, nor on the number
    of processes.

    Arguments:
        configs: the jobs, in any mixture of shapes.
        directories: for each a directory that is new, empty, or that of its run.
        group: what the jobs are called together.
        processes: train in so many at once; 1 stays in this process.
        memory_gb: what a stack may take at most, in gigabytes; a larger one is split.
        ended: called with every run that has been worked on, when it has ended.
        say: takes a line on how the jobs are grouped.

    Raises:
        ConfigError: a configuration that cannot be run, or a directory that holds something else.
    """
    configs = [to_config(to_dict(config)) for config in configs]
    runs = [Run(Path(directory), located(config)) for directory, config in zip(directories, configs, strict=True)]
    groups: dict[str, list[Member]] = {}
    targets: dict[str, Target] = {}
    for run in runs:
        # One for all jobs that model the same, since the points of a file take room.
        target = targets.setdefault(str(run.config.target), check_run(run.config))
        begun(run.directory, run.config)
        groups.setdefault(stack_key(run.config, target.dim), []).append((run, target))
    check_same_data(runs)
    waiting = [run for run in runs if not run.done]
    shared_out: list[Piece] = []
    in_turn: list[Piece] = []
    for members in groups.values():
        ready = [(run, target) for run, target in members if not run.done]
        if not ready:
            continue
        trainer = ready[0][0].config.trainer
        beside_others = trainer.threads == 1 and resolve_device(trainer.accelerator).type == "cpu"
        if trainer.devices > 1:
            in_turn += [Piece([member], False, group) for member in ready]
        elif len(members) == 1 or not stackable(ready[0][0].config):
            alone = [Piece([member], False, group) for member in ready]
            (shared_out if beside_others else in_turn).extend(alone)
        else:
            # So many that no process is left without work, but none of a single job, which is faster alone.
            share = min(-(-processes * len(ready) // len(waiting)), max(1, len(ready) // 2))
            largest = max(1, int(memory_gb * 1e9) // bytes_of_job(ready[0][0].config, ready[0][1].dim))
            if len(ready) > largest:
                depth = layers(ready[0][0].config.flow)
                say(f"at most {largest} of the jobs of depth {depth} in a stack, to stay below {memory_gb:g} GB")
            pieces = [Piece(part, True, group) for part in _stacks(ready, largest, share)]
            (shared_out if beside_others else in_turn).extend(pieces)
    # The longest first, so that no process works on at the end while the others have nothing to do.
    shared_out.sort(key=lambda piece: -piece.config.max_steps * layers(piece.config.flow) * len(piece.members))
    pieces = [*shared_out, *in_turn]
    sizes = [len(piece.members) for piece in pieces]
    say(describe(len(runs), sizes, len(runs) - len(waiting)))
    steps = [piece.config.max_steps for piece in pieces]
    with sweep_progress(configs[0].trainer.progress, sizes, steps) as show:

        def hear(number: int, step: int | None) -> None:
            show(number, step)
            for run, _ in pieces[number].members if step is None else []:
                _see_that_it_ended(run, RuntimeError("the process that trained it was killed; was the memory used up?"))
                ended(run)

        share_out([piece.carry_out for piece in shared_out], min(processes, max(1, len(shared_out))), hear)
        # Jobs with threads, processes or a GPU of their own: for them there is one place, and it is not in a fork.
        share_out([piece.carry_out for piece in in_turn], 1, lambda number, step: hear(len(shared_out) + number, step))
    return runs


def usable_processes() -> int:
    """How many processes this one may use the cores of; where forks are not safe, none but itself."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _open(run: Run, target: Target, group: str | None) -> bool:
    """Make a run ready to be trained, from its beginning or from where it was stopped; says whether it can be."""
    try:
        opened(begun(run.directory, run.config), run.config, target, run.directory, group)
    except (ConfigError, OSError) as error:
        print_line(f"flowlab: {run.directory}: cannot go on: {error}")
        with contextlib.suppress(ConfigError, OSError):  # another process works on it, or it cannot be written
            fail(run, error)
        return False
    return True


def _stacks(members: list[Member], largest: int, at_least: int) -> Iterator[list[Member]]:
    """Jobs of one shape as stacks: each of jobs at the same step, and no larger than the memory allows."""
    for _, same in groupby(sorted(members, key=_step), key=_step):
        yield from parts(list(same), largest, at_least)


def _step(member: Member) -> int:
    """Where a job goes on."""
    run, _ = member
    try:
        return run.checkpoint("last")["global_step"]
    except ConfigError:  # there is none yet; or it is damaged, which is said when the run is opened
        return 0


def _see_that_it_ended(run: Run, error: Exception) -> None:
    """Write down the error of a run that could not do so itself."""
    if run.status.get("status") == "running":
        with contextlib.suppress(ConfigError, OSError):
            fail(run, error)


def train_stack(stack: Sequence[Member], progress: pl.Callback | None = None) -> None:
    """Train jobs of equal keys together, from step 0 or all from the step of their checkpoints.

    Arguments:
        stack: the jobs.
        progress: shows how far they are.
    """
    config = stack[0][0].config
    with contextlib.ExitStack() as surroundings:
        surroundings.enter_context(silence_lightning())
        surroundings.enter_context(set_threads(config.trainer.threads))
        jobs = [_job(run, target) for run, target in stack]
        closing = [surroundings.enter_context(contextlib.ExitStack()) for _ in jobs]
        for job, closes in zip(jobs, closing, strict=True):
            job.loggers = closes.enter_context(open_loggers(job.run))
        stopping = GracefulStop()
        module = StackModule(jobs, stopping)
        trainer = pl.Trainer(
            max_steps=config.max_steps,
            accelerator=resolve_device(config.trainer.accelerator).type,
            devices=1,
            logger=False,
            callbacks=[StackCheckpoints(), StackFigures(), stopping, *([progress] if progress else [])],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        together = told(*(job.run for job in jobs), to_the_end=False)
        with handle_signals(STOP_HANDLERS), together, _resumable(module) as checkpoint, stopping.raise_at_end():
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
        for place, job in enumerate(jobs):
            # What went wrong is then in its directory, and its loggers have seen it.
            with contextlib.suppress(Exception), told(job.run), closing[place]:
                _finish(module, place, trainer.global_step)


def _job(run: Run, target: Target) -> Job:
    device = device_of(run.config)
    flow = initial_flow(run.config, target).to(device)
    stream, objective = what_to_minimise(run.config, flow, target, device)
    optimizer = build_optimizer(run.config.optimizer, flow.parameters())
    record = new_record(run.config, target, device)
    saving = Saving(run.config, run.directory / "checkpoints")
    return Job(run, target, flow, stream, objective, optimizer, record, saving)


def _finish(module: StackModule, place: int, steps: int) -> None:
    job = module.jobs[place]
    if job.failure is not None:
        raise job.failure
    module.load_flow(place)
    training = {
        "steps": steps,
        "best_step": job.saving.best_step,
        "compiled": module.compiled,
        "seconds": job.record.seconds,
        "steps_per_second": steps / job.record.seconds,
    }
    write_outcome(job.run, job.flow, job.target, training, job.loggers)


@contextlib.contextmanager
def _resumable(module: StackModule) -> Iterator[str | None]:
    """A checkpoint of the loop to start from, if the jobs have checkpoints, and every job put where its own has it."""
    if not module.jobs[0].run.has_checkpoint("last"):
        yield None
        return
    checkpoints: list[dict[str, Any]] = [job.run.checkpoint("last") for job in module.jobs]
    module.restore(checkpoints)
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/loop.ckpt"
        torch.save(checkpoints[0] | {"state_dict": {}, "optimizer_states": [], "callbacks": {}}, path)
        yield path
