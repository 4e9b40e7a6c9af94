"""The log of a job: a row of numbers for each step at which something is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flowlab.config.schema import TrainerConfig
from flowlab.metrics._evaluate import VALIDATION
from flowlab.optimizers.base import Optimizer

Measure = Callable[[nn.Module], dict[str, float]]


class Record:
    """The losses since the last row, and the rows.

    Arguments:
        settings: how often a row is logged and a validation runs, in steps.
        max_steps: the last step.
        optimizer: for the learning rate in a row.
        measure: gives the metrics of a module on the held-out points; None without such points.

    Attributes:
        rows: what was logged in this session, by step.
        row, row_step: the last row, and its step.
        validated: whether the last row has metrics.
        seconds: training time over all sessions of a run.
    """

    def __init__(self, settings: TrainerConfig, max_steps: int, optimizer: Optimizer, measure: Measure | None) -> None:
        self.settings, self.max_steps, self.optimizer, self.measure = settings, max_steps, optimizer, measure
        self.rows: dict[int, dict[str, float]] = {}
        self.row: dict[str, float] = {}
        self.row_step = 0
        self.metrics: dict[str, float] = {}
        self.seconds = 0.0
        self._window: list[Tensor] = []
        self._rate_mark = (0, 0.0)  # step and seconds at the last row

    def add(self, losses: Tensor, seconds: float) -> None:
        """Add the losses of some steps, of shape (n,), and the time that they took."""
        self._window += losses.unbind()
        self.seconds += seconds

    def is_validation_due(self, step: int) -> bool:
        due = step % self.settings.validate_every == 0 or step == self.max_steps
        return due and self.measure is not None

    def is_due(self, step: int) -> bool:
        return step % self.settings.log_every == 0 or step == self.max_steps or self.is_validation_due(step)

    def write(self, step: int, module: nn.Module, grad_norm: float, loggers: Sequence[Any]) -> None:
        """Make the row of a step and hand it to the loggers."""
        last_step, last_seconds = self._rate_mark
        row = {"loss": float(torch.stack(self._window).mean())}
        if self.is_validation_due(step):
            assert self.measure is not None
            self.metrics = self.measure(module)
            row |= self.metrics
        row |= {
            "grad_norm": grad_norm,
            "lr": self.optimizer.learning_rate(step - 1, self.max_steps),
            "steps_per_second": (step - last_step) / max(self.seconds - last_seconds, 1e-9),
            "seconds": self.seconds,
        }
        self.rows[step] = self.row = row
        self.row_step = step
        self._window, self._rate_mark = [], (step, self.seconds)
        # A resumed run computes again the rows that it had logged after its last checkpoint.
        if step > max((getattr(logger, "last_step", 0) for logger in loggers), default=0):
            for logger in loggers:
                logger.log_metrics(row, step)

    def is_validated(self, step: int) -> bool:
        """Whether the metrics are from this step."""
        return self.row_step == step and self.is_validation_due(step)

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "window": [float(loss) for loss in self._window],
            "rate_mark": list(self._rate_mark),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]
        self._window = [torch.tensor(loss) for loss in state["window"]]
        self._rate_mark = (state["rate_mark"][0], state["rate_mark"][1])


def metric_names(extra: Sequence[str] = ()) -> list[str]:
    """The metrics of a validation: those that every run has, and further ones."""
    return list(dict.fromkeys([*VALIDATION, *extra]))
