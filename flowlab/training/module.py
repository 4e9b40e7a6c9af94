"""The Lightning module: many optimizer steps inside one call, each a pure function of the step's number."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from flowlab.config.schemas import Config
from flowlab.distributed.stopping import GracefulStop
from flowlab.flow import Flow
from flowlab.objectives.objective import Objective
from flowlab.training.batches import Stream
from flowlab.training.compile import TakeStep, choose, compiled_step
from flowlab.training.divergence import DivergedError, describe_divergence
from flowlab.training.figures import figures_every
from flowlab.training.optimizer import build_optimizer, set_learning_rate
from flowlab.training.record import Record
from flowlab.training.state import in_a_row, read_state, write_state
from flowlab.training.step import Step, adam_rates


class FlowModule(pl.LightningModule):
    """Trains a flow on a stream of minibatches.

    One `training_step` runs up to `steps_per_call` optimizer steps, so that Lightning's own cost is paid once for all
    of them; it stops early at every step where something is logged, validated or saved, so that these happen on the
    steps that the configuration names and the numbers do not depend on `steps_per_call`.

    Arguments:
        flow: what is trained.
        stream: minibatches by step.
        objective: the loss of a minibatch in nats.
        config: the optimizer's numbers, and how often what happens, in steps.
        record: what is logged.
        stopping: whether training was asked to stop, and the ranks that train together.

    Raises:
        DivergedError: the loss is not finite; the parameters are those before the step that failed.
    """

    automatic_optimization = False

    def __init__(
        self, flow: Flow, stream: Stream, objective: Objective, config: Config, record: Record, stopping: GracefulStop
    ) -> None:
        super().__init__()
        self.flow, self.stream, self.objective = flow, stream, objective
        self.config, self.record, self.stopping, self.world = config, record, stopping, stopping.world
        self.compiled: TakeStep | None = None

    def setup(self, stage: str) -> None:
        if choose(self.config).compiled:
            step = Step([self.flow], self.objective, self.config.optimizer, self.stream.place)
            mean = self.world.all_reduce_mean if self.world.size > 1 else None
            self.compiled = compiled_step(step, next(self.flow.parameters()).device, mean)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.config.optimizer, self.flow.parameters())

    def train_dataloader(self) -> Endless:
        return Endless()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        begun = time.perf_counter()
        start = self.trainer.global_step
        steps = range(start, end_of_call(self.config, start))[: self.stopping.steps]
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        losses, grad_norm = (self._compiled_steps if self.compiled else self._eager_steps)(optimizer, steps)
        count_steps(self.trainer, len(losses))
        self.record.add(losses, time.perf_counter() - begun)
        step = start + len(losses)
        if self.record.due(step):
            self.record.write(step, self.flow, float(grad_norm), self.trainer.loggers)
        if self.stopping.agree((time.perf_counter() - begun) / len(losses)):
            self.trainer.should_stop = True

    def _eager_steps(self, optimizer: torch.optim.Optimizer, steps: range) -> tuple[Tensor, Tensor]:
        """The losses of some steps, each as torch's own loop would take it, and the norm of the last gradient.

        They are fewer where training is asked to stop.
        """
        before = copy.deepcopy((self.flow.state_dict(), optimizer.state_dict()))
        taken = [self._step(optimizer, step) for step in self.stopping.iterate(steps)]
        losses = self.world.all_reduce_mean(torch.stack(taken))
        failed = losses.isfinite().logical_not().nonzero()
        if len(failed) or not in_a_row(self.flow.parameters()).isfinite().all():
            # A loss can be finite and its gradient not: then the last update of this call did the damage.
            step = steps.start + (int(failed[0]) if len(failed) else len(losses))
            self._go_back(optimizer, before, steps.start, step)
            self._raise_diverged(step)
        gradients = [p.grad for p in self.flow.parameters() if p.grad is not None]
        return losses, torch.nn.utils.get_total_norm(gradients)

    def _step(self, optimizer: torch.optim.Optimizer, step: int) -> Tensor:
        set_learning_rate(optimizer, self.config, step)
        loss = self.objective(self.flow, self.stream.place(self._draw(step)))
        optimizer.zero_grad()
        self.manual_backward(loss)
        for parameter in optimizer.param_groups[0]["params"]:
            if parameter.grad is None and parameter.requires_grad:  # not reached by the loss: as in a compiled step
                parameter.grad = torch.zeros_like(parameter)
        if self.config.optimizer.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.flow.parameters(), self.config.optimizer.clip)
        optimizer.step()
        return loss.detach()

    def _compiled_steps(self, optimizer: torch.optim.Optimizer, steps: range) -> tuple[Tensor, Tensor]:
        """The same as _eager_steps up to rounding, on the numbers of the flow and of Adam in a row."""
        assert self.compiled is not None
        state = read_state([self.flow], [optimizer], steps.start)
        losses = []
        rates_of_steps = zip(steps, adam_rates([self.config], steps, state.numbers), strict=True)
        for step, rates in self.stopping.iterate(rates_of_steps):
            state, loss = self.compiled(state, self._draw(step)[None], *rates)
            losses.append(loss)
        write_state(state, 0, self.flow, optimizer)
        set_learning_rate(optimizer, self.config, steps.start + len(losses) - 1)
        if not state.alive.all():
            self._raise_diverged(int(state.steps))
        return torch.cat(losses), state.grad_norms

    def _draw(self, step: int) -> Tensor:
        """Of the minibatch, which is the same however many ranks there are, each takes its share."""
        return self.world.shard(self.stream.draw(step))

    def _go_back(
        self, optimizer: torch.optim.Optimizer, before: tuple[dict[str, Any], dict[str, Any]], start: int, failed: int
    ) -> None:
        """Go back to the start of this call, and repeat it up to the step that failed."""
        self.flow.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        for step in range(start, failed):
            self._step(optimizer, step)

    def _raise_diverged(self, failed: int) -> None:
        raise DivergedError(describe_divergence(self.flow, self.stream(failed), failed, self.objective.inverse))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["flowlab"] = shape_of(self.flow) | self.record.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.record.load_state_dict(checkpoint["flowlab"])


class Endless:
    """What Lightning iterates over: minibatches come from the stream by step, so there is nothing to load or save."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield 0

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def end_of_call(config: Config, start: int) -> int:
    """The next step at which a call must end, from a step before it."""
    trainer = config.trainer
    every = [trainer.steps_per_call, trainer.log_every, trainer.validate_every, trainer.checkpoint_every]
    every.append(figures_every(config) or config.max_steps)
    return min(config.max_steps, *(start - start % interval + interval for interval in every))


def count_steps(trainer: pl.Trainer, steps: int) -> None:
    """Tell Lightning how many optimizer steps were taken: it counts only calls of its own wrapper.

    `trainer.global_step`, by which it stops, saves and resumes, is read from here.
    """
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    for tracker in (progress.total, progress.current):
        tracker.ready += steps
        tracker.completed += steps


def shape_of(flow: Flow) -> dict[str, Any]:
    """What is needed, beside the configuration, to build the flow of a checkpoint without its data."""
    return {"dim": flow.base.event_shape[-1]}
