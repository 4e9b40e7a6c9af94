"""The training loop of one job, or of several jobs of one structure."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from flowlab.config.schema import TrainerConfig
from flowlab.distributed.world import GracefulStop
from flowlab.optimizers.base import Optimizer
from flowlab.runs.checkpoint import BEST, flow_weights
from flowlab.runs.record import Checkpoints, Record
from flowlab.system.display import Progress
from flowlab.targets.base import Batch, Minibatch
from flowlab.training.build import Batches, Choice, choose
from flowlab.training.compile import TakeStep, compiled_step
from flowlab.training.divergence import DivergedError, describe_divergence
from flowlab.training.step import (
    LossOf,
    Recipe,
    SingleStep,
    StackedStep,
    as_drawn,
    new_state,
    optimizer_state,
    rates_of_steps,
    read_state,
    write_parameters,
)


@dataclass
class Job:
    """A module to train, with everything that belongs to it alone.

    Attributes:
        module: a flow, or any module with a loss.
        loss: the loss of the module and a minibatch.
        optimizer: its optimizer.
        batches: its minibatches.
        record: its log.
        checkpoints: its best and last states.
        shape: what its checkpoints say of its shape, from `facts_of`.
        loggers: the sinks of its rows.
        inverse: the loss takes points of the target back to the base; describes a divergence.
        show: draws the figures that are due after a step, and hands them to the loggers.
        figures_every: steps between two moments at which figures may be due; None draws none during training.
        failure: why it stopped, if it diverged.
    """

    module: nn.Module
    loss: LossOf
    optimizer: Optimizer
    batches: Batches
    record: Record
    checkpoints: Checkpoints
    shape: dict[str, Any] = field(default_factory=dict)
    loggers: Sequence[Any] = ()
    inverse: bool = True
    show: Callable[[nn.Module, int], None] = lambda module, step: None
    figures_every: int | None = None
    failure: DivergedError | None = field(default=None, init=False)


class Loop:
    """Takes optimizer steps until all are taken, a signal arrives, or every job has failed or ended early.

    A job ends early when its patience is spent or its time is up; its parameters then stay as they are.

    Each call takes up to `steps_per_call` steps, and ends at every step where something is logged, validated, drawn or
    saved. So these happen at the steps that the settings name. The numbers do not depend on `steps_per_call`.

    Arguments:
        jobs: at least one, of one structure; several are trained as a stack.
        settings: how often what happens, in steps.
        max_steps: the last step.
        stop: the signals that end training early, and the ranks.
        same_batches: all jobs make their minibatches of draws in the same way, so they can be made together.
        stacked: take the step of a stack even for one job, compiled or not. So a job's numbers do not depend on the
            jobs beside it.
        ballast: places of jobs that are there for their shape alone; they are not trained. A compiled step rounds by
            the size of a stack and by the place of a job in it.
        fail_fast: stop all jobs, and save them, when one diverges.

    Attributes:
        step: how many steps have been taken.
        state: parameters and moments of all jobs.
        trained: the places of all jobs but ballast.
        choice: whether the step is a compiled graph, and why.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        settings: TrainerConfig,
        max_steps: int,
        stop: GracefulStop | None = None,
        same_batches: bool = True,
        stacked: Choice | None = None,
        ballast: Collection[int] = (),
        fail_fast: bool = False,
    ) -> None:
        self.jobs, self.settings, self.max_steps = list(jobs), settings, max_steps
        self.stop, self.fail_fast = stop or GracefulStop(), fail_fast
        self.world, self.step = self.stop.world, 0
        self.trained = [place for place in range(len(self.jobs)) if place not in ballast]
        first, modules = self.jobs[0], [job.module for job in self.jobs]
        self.draws = [job.batches.draw if same_batches else job.batches for job in self.jobs]
        from_draws = first.batches.from_draws if same_batches else as_drawn
        self.recipe = recipe = Recipe(first.loss, first.optimizer, from_draws, settings.precision == "bf16-mixed")
        self.state = new_state(modules, first.optimizer).with_alive(self.trained)
        several = 0.0 if len(modules) > 1 else None
        self.choice = stacked or choose(settings.compile, max_steps, self.state.numbers.device.type, several)
        self._single: SingleStep | None = None
        self.take_step: TakeStep
        if self.choice.compiled:
            self.take_step = compiled_step(StackedStep(modules, recipe, self.world))
        elif stacked or len(modules) > 1:
            self.take_step = StackedStep(modules, recipe, self.world)
        else:
            self.take_step = self._single = SingleStep(first.module, recipe, self.world)

    def restore(self, checkpoints: Sequence[dict[str, Any]]) -> None:
        """Continue from checkpoints of all jobs but ballast, each of the same step; the modules get their weights."""
        saved = [checkpoints[0]["optimizer_states"][0]] * len(self.jobs)
        for place, checkpoint in zip(self.trained, checkpoints, strict=True):
            job, saved[place] = self.jobs[place], checkpoint["optimizer_states"][0]
            job.module.load_state_dict(flow_weights(checkpoint))
            job.checkpoints.load_state_dict(checkpoint["callbacks"][BEST])
            job.record.load_state_dict(checkpoint["flowlab"])
        self.step = checkpoints[0]["global_step"]
        modules = [job.module for job in self.jobs]
        self.state = read_state(modules, self.jobs[0].optimizer, saved, self.step).with_alive(self.trained)
        for place, job in self.living():
            self.state.alive[place] = not (job.checkpoints.has_ended or self._is_out_of_time(job))

    def run(self, progress: Progress | None = None) -> None:
        """Train; a job that diverges keeps its last finite parameters, and says why in `failure`."""
        if progress:
            progress.start(self.step, self.max_steps)
        try:
            with self.stop.raise_at_end(), self.world.detect_lost_ranks():
                stopping = False
                for place, job in self.living() if self.step == 0 and self.jobs[0].checkpoints.finite else ():
                    job.checkpoints.start(job.record, job.module, lambda place=place: self.checkpoint(place))  # type: ignore[misc]
                while self.step < self.max_steps and not stopping and self.state.alive.any():
                    stopping = self._call()
                    if progress:
                        progress.update(self.step, self.jobs[self.trained[0]].record)
        finally:
            for place in self.trained:
                with contextlib.suppress(OSError):  # the disk may have caused the end
                    self.jobs[place].checkpoints.write_best()
            if progress:
                progress.close()
            for place in self.trained:
                write_parameters(self.state, place, self.jobs[place].module)
            if self._single:
                self._single.release()

    def _call(self) -> bool:
        """Take the steps up to the next event, then log, validate, draw and save; tells whether to stop."""
        begun, alive = time.perf_counter(), self.state.alive
        steps = range(self.step, self._next_event())[: self.stop.steps]
        rates = rates_of_steps([job.optimizer for job in self.jobs], steps, self.max_steps, self.state.numbers)
        losses = torch.stack([self._take(step, each) for step, each in self.stop.iterate(rates, self._deadline(begun))])
        self.step += len(losses)
        self._record_failures(alive)
        share = (time.perf_counter() - begun) / len(self.trained)
        for place, job in self.living():
            job.record.add(losses[:, place], share)
            if self.settings.max_time is not None and self._is_out_of_time(job):
                job.record.max_steps = job.checkpoints.max_steps = self.step
            if job.record.is_due(self.step):
                norm = float(self.state.grad_norms[place])
                job.record.write(self.step, self.module(place), norm, job.loggers)
        stopping = self.stop.agree((time.perf_counter() - begun) / len(losses))
        stopping = stopping or (self.fail_fast and any(job.failure for job in self.jobs))
        for place, job in self.living():
            job.checkpoints.step(self.step, job.record, lambda place=place: self.checkpoint(place), stopping)  # type: ignore[misc]
            if job.figures_every and self.step % job.figures_every == 0 and self.step < self.max_steps:
                job.show(self.module(place), self.step)
            if job.checkpoints.has_ended:
                self.state.alive[place] = False
        return stopping

    def _deadline(self, begun: float) -> float:
        """The time on the clock at which the first job is out of time."""
        if self.settings.max_time is None:
            return math.inf
        return begun + len(self.trained) * (
            self.settings.max_time - max(job.record.seconds for _, job in self.living())
        )

    def _is_out_of_time(self, job: Job) -> bool:
        """Whether a job has trained for `max_time`, on the slowest rank."""
        limit = self.settings.max_time
        return limit is not None and self.world.all_reduce_max(job.record.seconds)[0] >= limit

    def _take(self, step: int, rates: Tensor) -> Tensor:
        """Take one step of all jobs; gives their losses."""
        own = {place: self.draws[place](step) for place in self.trained}
        drawn = [own.get(place, own[self.trained[0]]) for place in range(len(self.draws))]
        if self.world.size > 1:
            drawn = [self.world.shard(each) for each in drawn]
        stacked = Batch(*(torch.stack(tensors) for tensors in zip(*(each.tensors() for each in drawn), strict=True)))
        with torch.enable_grad():  # the caller may be inside `torch.no_grad()`
            self.state, losses = self.take_step(self.state, stacked, rates)
        return losses

    def _next_event(self) -> int:
        settings = self.settings
        every = [settings.steps_per_call, settings.log_every, settings.validate_every, settings.checkpoint_every]
        every += [job.figures_every for job in self.jobs if job.figures_every]
        return min(self.max_steps, *(self.step - self.step % interval + interval for interval in every))

    def _record_failures(self, alive: Tensor) -> None:
        """Describe the failure of each job that was alive before the last call and is not any more."""
        for place in (alive & ~self.state.alive).nonzero().flatten().tolist():
            job, step = self.jobs[place], int(self.state.steps[place])
            batch = Minibatch(job.batches(step), self.state.steps[place])
            with self.recipe.autocast(batch.x):
                message = describe_divergence(self.module(place), batch, step, job.loss, job.inverse)
            job.failure = DivergedError(message)

    def living(self) -> list[tuple[int, Job]]:
        """The jobs that have not failed, with their places."""
        return [(place, self.jobs[place]) for place in self.state.alive.nonzero().flatten().tolist()]

    def module(self, place: int) -> nn.Module:
        """A job's module with its present parameters."""
        write_parameters(self.state, place, self.jobs[place].module)
        return self.jobs[place].module

    def checkpoint(self, place: int) -> dict[str, Any]:
        """The state of a job, the same whether it is trained alone or in a stack."""
        job, module = self.jobs[place], self.module(place)
        lr = job.optimizer.learning_rate(max(0, self.step - 1), self.max_steps)
        return {
            "global_step": self.step,
            "state_dict": {f"flow.{name}": tensor.detach().clone() for name, tensor in module.state_dict().items()},
            "optimizer_states": [optimizer_state(self.state, place, module, job.optimizer, lr)],
            "flowlab": job.shape | job.record.state_dict(),
            "callbacks": {BEST: job.checkpoints.state_dict()},
        }
