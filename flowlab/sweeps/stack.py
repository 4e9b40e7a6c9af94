"""Stacked training: jobs of one shape as one batched model in one process.

Every job keeps its own parameters, minibatches, learning rate, metrics and run directory; what they share is the call
that computes the gradients of all of them. A job equals the same job trained alone up to rounding.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from flowlab.distributed.stopping import GracefulStop
from flowlab.flow import Flow
from flowlab.objectives.objective import Objective
from flowlab.runs.directory import Run
from flowlab.targets.base import Target
from flowlab.training.batches import Stream, as_it_is
from flowlab.training.checkpoints import Checkpoints, Saving
from flowlab.training.compile import choose, compiled_step
from flowlab.training.divergence import DivergedError, describe_divergence
from flowlab.training.figures import figures_every, show
from flowlab.training.module import Endless, count_steps, end_of_call, shape_of
from flowlab.training.optimizer import set_learning_rate
from flowlab.training.record import Record
from flowlab.training.state import read_state, write_state
from flowlab.training.step import Step, adam_rates


@dataclass
class Job:
    """One of the jobs of a stack."""

    run: Run
    target: Target
    flow: Flow
    stream: Stream
    objective: Objective
    optimizer: torch.optim.Optimizer
    record: Record
    saving: Saving
    loggers: list[Logger] = field(default_factory=list)
    failure: DivergedError | None = None


class StackModule(pl.LightningModule):
    """Trains the flows of several jobs together.

    A job whose loss stops being finite keeps the parameters that it had and is left out from there on.

    Arguments:
        jobs: at least one, of equal keys.
        stopping: whether training was asked to stop.
    """

    automatic_optimization = False

    def __init__(self, jobs: list[Job], stopping: GracefulStop) -> None:
        super().__init__()
        self.jobs, self.stopping = jobs, stopping
        self.config = jobs[0].run.config
        flows = [job.flow for job in jobs]
        # Where all jobs model the same target, their minibatches are made together.
        same = len({str(job.run.config.target) for job in jobs}) == 1
        self.draws = [job.stream.draw if same else job.stream for job in jobs]
        place = jobs[0].stream.place if same else as_it_is
        step = Step(flows, jobs[0].objective, self.config.optimizer, place)
        self.state = read_state(flows, [job.optimizer for job in jobs], steps=0)
        self.compiled = choose(self.config, stacked=True).compiled
        self.take = compiled_step(step, self.state.numbers.device) if self.compiled else step

    def configure_optimizers(self) -> None:
        """Each job has its own, and the step computes what it would."""

    def train_dataloader(self) -> Endless:
        return Endless()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        begun = time.perf_counter()
        start = self.trainer.global_step
        steps = range(start, min(end_of_call(job.run.config, start) for job in self.jobs))
        before = self.state.alive.clone()  # a CUDA graph writes its state where it was
        rates = adam_rates([job.run.config for job in self.jobs], steps, self.state.numbers)
        rates_of_steps = self.stopping.iterate(zip(steps, rates, strict=True))
        losses = torch.stack([self._step(step, *rate) for step, rate in rates_of_steps])
        count_steps(self.trainer, len(losses))
        stop = start + len(losses)
        self._put_aside(before)
        share = (time.perf_counter() - begun) / len(self.jobs)
        for place, job in self.living():
            job.record.add(losses[:, place], share)
            if job.record.due(stop):
                self.load_flow(place)
                job.record.write(stop, job.flow, float(self.state.grad_norms[place]), job.loggers)
        if self.stopping.received or not self.state.alive.any():
            self.trainer.should_stop = True

    def _step(self, step: int, rates: Tensor, root: Tensor) -> Tensor:
        """One step of all jobs; their losses."""
        drawn = torch.stack([draw(step) for draw in self.draws])
        self.state, losses = self.take(self.state, drawn, rates, root)
        return losses

    def _put_aside(self, before: Tensor) -> None:
        """Say of each job that has just failed where and why, as it would be said of the job alone."""
        for place in (before & ~self.state.alive).nonzero().flatten().tolist():
            job, step = self.jobs[place], int(self.state.steps[place])
            self.load_flow(place)
            message = describe_divergence(job.flow, job.stream(step), step, job.objective.inverse)
            job.failure = DivergedError(message)

    def living(self) -> list[tuple[int, Job]]:
        return [(place, self.jobs[place]) for place in self.state.alive.nonzero().flatten().tolist()]

    def load_flow(self, place: int) -> None:
        """Bring a job's flow to its present parameters."""
        write_state(self.state, place, self.jobs[place].flow)

    def checkpoint(self, place: int, common: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The checkpoint of one job, as it would be had it been trained alone.

        Arguments:
            place: of the job.
            common: gives what Lightning saves of the loop, which is the same for all.
        """
        job = self.jobs[place]
        write_state(self.state, place, job.flow, job.optimizer)
        set_learning_rate(job.optimizer, job.run.config, self.trainer.global_step - 1)
        return common() | {
            "state_dict": {f"flow.{name}": tensor.clone() for name, tensor in job.flow.state_dict().items()},
            "optimizer_states": [job.optimizer.state_dict()],
            "callbacks": {Checkpoints.__qualname__: job.saving.state_dict()},
            "flowlab": shape_of(job.flow) | job.record.state_dict(),
        }

    def restore(self, checkpoints: list[dict[str, Any]]) -> None:
        """Put every job where its checkpoint has it; all are at the same step."""
        for job, checkpoint in zip(self.jobs, checkpoints, strict=True):
            weights = checkpoint["state_dict"]
            job.flow.load_state_dict({name.removeprefix("flow."): tensor for name, tensor in weights.items()})
            job.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
            job.saving.load_state_dict(checkpoint["callbacks"][Checkpoints.__qualname__])
            job.record.load_state_dict(checkpoint["flowlab"])
        flows, optimizers = [job.flow for job in self.jobs], [job.optimizer for job in self.jobs]
        self.state = read_state(flows, optimizers, checkpoints[0]["global_step"])


class StackFigures(pl.Callback):
    """Shows the figures of every job of a stack while it trains."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackModule)
        for place, job in pl_module.living():
            if figures_every(job.run.config):
                pl_module.load_flow(place)
                show(job.run, job.flow, job.target, job.loggers, trainer.global_step)


class StackCheckpoints(pl.Callback):
    """Writes the checkpoints of every job of a stack into its own directory."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackModule)
        common = cache(trainer._checkpoint_connector.dump_checkpoint)
        for place, job in pl_module.living():
            checkpoint = partial(pl_module.checkpoint, place, common)
            job.saving.step(trainer.global_step, job.record, checkpoint, trainer.should_stop)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, StackModule)
        for job in pl_module.jobs:
            with contextlib.suppress(OSError):  # of one job no other suffers
                job.saving.write_best()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)
