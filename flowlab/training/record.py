"""What a job logs while it trains: one row for each step at which something is due."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from flowlab.config.schemas import Config
from flowlab.distributed.world import SINGLE_PROCESS, World
from flowlab.flow import Flow
from flowlab.loggers.csv import CSVMetrics
from flowlab.targets.base import Target
from flowlab.training.evaluate import Evaluation, evaluate
from flowlab.training.optimizer import learning_rate


class Record:
    """The losses since the last row, the held-out points, and the rows made of them.

    Arguments:
        config: of the job.
        target: for the KL.
        validation: held-out points, of shape (n, dim).
        world: the ranks that score them together.

    Attributes:
        row, row_step: what was logged last, and at which step.
        held_out: the last validation.
        seconds: of training, over all sessions of a run.
    """

    def __init__(self, config: Config, target: Target, validation: Tensor, world: World = SINGLE_PROCESS) -> None:
        self.config, self.target, self.validation, self.world = config, target, validation, world
        self.row: dict[str, float] = {}
        self.row_step = 0
        self.held_out: Evaluation | None = None
        self.seconds = 0.0
        self._window: list[Tensor] = []
        self._rate_mark = (0, 0.0)  # step and seconds at the last row

    def add(self, losses: Tensor, seconds: float) -> None:
        """Take in the losses of some steps, of shape (n,), and the time that they took."""
        self._window += losses.unbind()
        self.seconds += seconds

    def validates(self, step: int) -> bool:
        return step % self.config.trainer.validate_every == 0 or step == self.config.max_steps

    def due(self, step: int) -> bool:
        return step % self.config.trainer.log_every == 0 or self.validates(step)

    def write(self, step: int, flow: Flow, grad_norm: float, loggers: list[Logger]) -> None:
        """Make the row of a step and hand it to the loggers."""
        last_step, last_seconds = self._rate_mark
        row = {
            "loss": float(torch.stack(self._window).mean()),
            "lr": learning_rate(self.config.optimizer, step - 1, self.config.max_steps),
            "grad_norm": grad_norm,
            "seconds": self.seconds,
            "steps_per_second": (step - last_step) / max(self.seconds - last_seconds, 1e-9),
        }
        if self.validates(step):
            self.held_out = held_out = evaluate(flow, self.validation, self.target, world=self.world)
            row |= {"nll": held_out.nll, "nll_se": held_out.nll_se, "bits_per_dim": held_out.bits_per_dim}
            row |= {"inverse_error": held_out.inverse_error}
            row |= {} if held_out.kl is None else {"kl": held_out.kl}
        self.row, self.row_step = row, step
        self._window, self._rate_mark = [], (step, self.seconds)
        # A resumed run computes again what it had logged after its last checkpoint; metrics.csv knows.
        if step > max((logger.last_step for logger in loggers if isinstance(logger, CSVMetrics)), default=0):
            for logger in loggers:
                logger.log_metrics(row, step)

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "window": [float(loss) for loss in self._window],
            "rate_mark": list(self._rate_mark),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]
        self._window = [self.validation.new_tensor(loss) for loss in state["window"]]
        self._rate_mark = (state["rate_mark"][0], state["rate_mark"][1])
