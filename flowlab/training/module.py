"""The Lightning module: many optimizer steps inside one call, each a pure function of the step's number."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from flowlab.bijectors import AffineScalar, stages
from flowlab.flow import Flow
from flowlab.schemas import AdamConfig, TrainerConfig
from flowlab.targets.base import Target
from flowlab.training.divergence import DivergedError, describe_divergence
from flowlab.training.evaluate import Evaluation, evaluate
from flowlab.training.metrics import CSVMetrics
from flowlab.training.objective import Objective
from flowlab.training.stream import Stream


class FlowModule(pl.LightningModule):
    """Trains a flow on a stream of minibatches.

    One `training_step` runs up to `steps_per_call` optimizer steps, so that Lightning's own cost is paid once for all
    of them; it stops early at every step where something is logged, validated or saved, so that these happen on the
    steps that the configuration names and the numbers do not depend on `steps_per_call`.

    Arguments:
        flow: what is trained.
        stream: minibatches by step.
        objective: the loss of a minibatch in nats.
        optimizer: Adam's numbers, the schedule and the largest gradient norm.
        trainer: how often what happens, in steps.
        max_steps: the number of optimizer steps of the whole run.
        target: for the KL.
        validation: held-out points, of shape (n, dim).

    Raises:
        DivergedError: the loss is not finite; the parameters are those before the step that failed.
    """

    automatic_optimization = False

    def __init__(
        self,
        flow: Flow,
        stream: Stream,
        objective: Objective,
        optimizer: AdamConfig,
        trainer: TrainerConfig,
        max_steps: int,
        target: Target,
        validation: Tensor,
    ) -> None:
        super().__init__()
        self.flow = flow
        self.stream, self.objective = stream, objective
        self.optimizer_config, self.intervals, self.max_steps = optimizer, trainer, max_steps
        self.target, self.validation = target, validation
        self.row: dict[str, float] = {}  # what was logged last, and at which step
        self.row_step = 0
        self.held_out: Evaluation | None = None  # the last validation
        self.seconds = 0.0  # of training, over all sessions of a run
        self._window: list[Tensor] = []  # the losses since the last row
        self._rate_mark = (0, 0.0)  # step and seconds at the last row

    def configure_optimizers(self) -> torch.optim.Optimizer:
        config = self.optimizer_config
        return torch.optim.Adam(
            self.flow.parameters(), lr=config.lr, betas=(config.betas[0], config.betas[1]), eps=config.eps, fused=True
        )

    def train_dataloader(self) -> Endless:
        return Endless()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        begun = time.perf_counter()
        start = self.trainer.global_step
        stop = self._next_stop(start)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        before = copy.deepcopy((self.flow.state_dict(), optimizer.state_dict()))
        losses = [self._step(optimizer, step) for step in range(start, stop)]
        failed = torch.stack(losses).isfinite().logical_not().nonzero()
        if len(failed) or not all(parameter.isfinite().all() for parameter in self.flow.parameters()):
            # A loss can be finite and its gradient not: then the last update of this call did the damage.
            self._raise_diverged(optimizer, before, start, start + int(failed[0]) if len(failed) else stop)
        self._count(stop - start)
        self._window += losses
        self.seconds += time.perf_counter() - begun
        if stop % self.intervals.log_every == 0 or self._validates(stop):
            self._log_row(stop)

    def _step(self, optimizer: torch.optim.Optimizer, step: int) -> Tensor:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.optimizer_config, step, self.max_steps)
        loss = self.objective(self.flow, self.stream(step))
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.optimizer_config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.flow.parameters(), self.optimizer_config.clip)
        optimizer.step()
        return loss.detach()

    def _next_stop(self, start: int) -> int:
        """The end of this call: the next step at which a call must end."""
        intervals = self.intervals
        every = (intervals.steps_per_call, intervals.log_every, intervals.validate_every, intervals.checkpoint_every)
        return min(self.max_steps, *(start - start % interval + interval for interval in every))

    def _count(self, steps: int) -> None:
        """Tell Lightning how many optimizer steps were taken: it counts only calls of its own wrapper.

        `trainer.global_step`, by which it stops, saves and resumes, is read from here.
        """
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for tracker in (progress.total, progress.current):
            tracker.ready += steps
            tracker.completed += steps

    def _validates(self, step: int) -> bool:
        return step % self.intervals.validate_every == 0 or step == self.max_steps

    def _log_row(self, step: int) -> None:
        last_step, last_seconds = self._rate_mark
        gradients = [p.grad for p in self.flow.parameters() if p.grad is not None]
        row = {
            "loss": float(torch.stack(self._window).mean()),
            "lr": learning_rate(self.optimizer_config, step - 1, self.max_steps),
            "grad_norm": float(torch.nn.utils.get_total_norm(gradients)),
            "seconds": self.seconds,
            "steps_per_second": (step - last_step) / max(self.seconds - last_seconds, 1e-9),
        }
        if self._validates(step):
            self.held_out = held_out = evaluate(self.flow, self.validation, self.target)
            row |= {"nll": held_out.nll, "nll_se": held_out.nll_se, "bits_per_dim": held_out.bits_per_dim}
            row |= {"inverse_error": held_out.inverse_error}
            row |= {} if held_out.kl is None else {"kl": held_out.kl}
        self.row, self.row_step = row, step
        self._window, self._rate_mark = [], (step, self.seconds)
        # A resumed run computes again what it had logged after its last checkpoint; metrics.csv knows.
        if step > max(
            (logger.last_step for logger in self.trainer.loggers if isinstance(logger, CSVMetrics)), default=0
        ):
            for logger in self.trainer.loggers:
                logger.log_metrics(row, step)

    def _raise_diverged(
        self, optimizer: torch.optim.Optimizer, before: tuple[dict[str, Any], dict[str, Any]], start: int, failed: int
    ) -> None:
        """Go back to the start of this call, repeat it up to the step that failed, and look there."""
        self.flow.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        for step in range(start, failed):
            self._step(optimizer, step)
        with torch.no_grad():
            reason = describe_divergence(self.flow, self.stream(failed), self.objective.inverse)
        raise DivergedError(f"the loss is not finite at step {failed}: {reason}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["flowlab"] = {
            "dim": self.flow.base.event_shape[-1],
            "standardized": isinstance(stages(self.flow.bijector)[-1], AffineScalar),
            "seconds": self.seconds,
            "window": [float(loss) for loss in self._window],
            "rate_mark": list(self._rate_mark),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["flowlab"]
        self.seconds = state["seconds"]
        self._window = [self.validation.new_tensor(loss) for loss in state["window"]]
        self._rate_mark = (state["rate_mark"][0], state["rate_mark"][1])


class Endless:
    """What Lightning iterates over: minibatches come from the stream by step, so there is nothing to load or save."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield 0

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def learning_rate(config: AdamConfig, step: int, max_steps: int) -> float:
    """The learning rate of a step: constant, or a half cosine from lr at step 0 to 0 at `max_steps`.

    Reference:
        | SGDR: Stochastic Gradient Descent with Warm Restarts (Ilya Loshchilov, Frank Hutter, 2016)
        | https://arxiv.org/abs/1608.03983
    """
    if config.schedule == "constant":
        return config.lr
    return 0.5 * config.lr * (1 + math.cos(math.pi * step / max_steps))
