"""The last and the best state of a job, and when early stopping ends its training."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from flowlab.config.schema import TrainerConfig
from flowlab.runs.checkpoint import write_checkpoint
from flowlab.system.files import check_not_replaced, raise_write_error, sync
from flowlab.training.record import Record


class Checkpoints:
    """Keeps the best state, and writes it and the last one into a run directory, each whole or not at all.

    On finite data, which can be memorized, training ends after `patience` validations without a better one. A
    validation does not count while the training loss is above that at the best one, as after a loss spike: then
    training recovers, and does not memorize.

    The best state is written together with the last one: validation often improves faster than a file can be written.
    A resumed run finds again the best state that a kill lost, since it starts from the last state that was written.

    Arguments:
        settings: `patience` in validations, and how often a checkpoint is due, in steps.
        max_steps: the last step, which may come to be earlier.
        directory: the run directory; None writes nothing.
        finite: the training data are finite, so they can be memorized.
        metric: the metric that is compared, in nats.

    Attributes:
        best_nll, best_step: the best validation, in nats, and its step; infinite and 0 while there is none.
        highest_loss: the highest loss of a step in the row of the best validation.
        spent: how many validations have counted since the best one.
        has_ended: training ends here: at the last step, or because patience is spent.
        best: the best state of this session.

    Reference:
        | Early Stopping - But When? (Lutz Prechelt, 1998)
        | https://doi.org/10.1007/3-540-49430-8_3
    """

    def __init__(
        self, settings: TrainerConfig, max_steps: int, directory: Path | None, finite: bool, metric: str = "nll"
    ) -> None:
        self.settings, self.max_steps, self.directory = settings, max_steps, directory
        self.finite, self.metric = finite, metric
        self.best_nll, self.best_step = math.inf, 0
        self.highest_loss, self.spent, self.has_ended = math.inf, 0.0, False
        self.best: dict[str, Any] | None = None
        self._best_is_written = True

    def start(self, record: Record, module: nn.Module, state: Callable[[], dict[str, Any]]) -> None:
        """Count the flow before its first step as a validation, so training on finite data never makes it worse."""
        if self.finite and record.measure is not None:
            nll = record.measure(module)[self.metric]
            if nll < self.best_nll:
                self.best_nll, self.best, self._best_is_written = nll, copy.deepcopy(state()), False

    def step(self, step: int, record: Record, state: Callable[[], dict[str, Any]], stopping: bool) -> None:
        """Keep or write what is due after a step; the last step before a stop is always written."""
        state = functools.cache(state)  # the best state may also be the last
        if record.row_step == step and record.is_validation_due(step):
            nll = record.metrics[self.metric]
            if nll < self.best_nll:
                self.best_nll, self.best_step = nll, step
                self.highest_loss, self.spent = record.highest_loss, min(self.spent, 0.0)
                self.best, self._best_is_written = copy.deepcopy(state()), False
            elif self.has_best and record.row["loss"] <= self.highest_loss:
                self.spent += 1
        self.has_ended = step == self.max_steps or self.is_patience_spent
        due = stopping or self.has_ended or step % self.settings.checkpoint_every == 0
        if self.directory is not None and due:
            check_not_replaced(self.directory)
            rows = self.directory / "metrics.csv"
            with raise_write_error(rows):
                sync(rows)  # a run that resumes from this checkpoint does not make them again
            self.write_best()
            self._write("last.ckpt", state())

    def write_best(self) -> None:
        """Write the best state, if it is not yet."""
        if self.directory is not None and self.best is not None and not self._best_is_written:
            self._write("best.ckpt", self.best)
            self._best_is_written = True

    @property
    def has_best(self) -> bool:
        """Whether a validation has given a finite number."""
        return self.best_nll < math.inf

    @property
    def is_patience_spent(self) -> bool:
        """Whether early stopping ends the training."""
        patience = self.settings.patience
        return self.finite and patience is not None and self.spent >= patience

    def _write(self, name: str, state: dict[str, Any]) -> None:
        assert self.directory is not None
        directory = self.directory / "checkpoints"
        with raise_write_error(directory):
            directory.mkdir(exist_ok=True)
        write_checkpoint(directory / name, state)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best_nll", "best_step", "highest_loss", "spent")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_nll, self.best_step = state["best_nll"], state["best_step"]
        # A run that an earlier version began trains to its last step: there patience ended the search alone.
        self.highest_loss, self.spent = state.get("highest_loss", math.inf), state.get("spent", -math.inf)
        self.has_ended = self.is_patience_spent
