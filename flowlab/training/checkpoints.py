"""Checkpoints of a job: its last state every so many steps, and the state that validated best."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowlab.config.schema import TrainerConfig
from flowlab.runs.checkpoint import write_checkpoint
from flowlab.system.files import check_not_replaced, raise_write_error, sync
from flowlab.training.record import Record


class Best:
    """The state with the best validation NLL, in memory.

    Arguments:
        settings: `patience`, in validations.
        finite: the training data are finite, so they can be memorized.
        metric: the metric that is compared, in nats.

    Attributes:
        nll, step: the best validation, in nats, and its step; step 0 while there is none.
        state: the best state of this session.
        is_written: whether a file has it.
    """

    def __init__(self, settings: TrainerConfig, finite: bool, metric: str = "nll") -> None:
        self.settings, self.finite, self.metric = settings, finite, metric
        self.nll, self.step = math.inf, 0
        self.state: dict[str, Any] | None = None
        self.is_written = False

    def update(self, step: int, record: Record, state: Callable[[], dict[str, Any]]) -> None:
        """Keep the state of a step if it is the best."""
        if record.is_validated(step) and record.metrics[self.metric] < self.nll and not self._has_stopped(step):
            self.nll, self.step = record.metrics[self.metric], step
            self.state, self.is_written = copy.deepcopy(state()), False

    def _has_stopped(self, step: int) -> bool:
        """Whether early stopping has ended the search: a later best on few held-out points is chance.

        Reference:
            | Early Stopping - But When? (Lutz Prechelt, 1998)
            | https://doi.org/10.1007/3-540-49430-8_3
        """
        if not self.finite or self.settings.patience is None or not self.step:
            return False
        return step - self.step > self.settings.patience * self.settings.validate_every

    def state_dict(self) -> dict[str, Any]:
        return {"best_nll": self.nll, "best_step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.nll, self.step = state["best_nll"], state["best_step"]


class Checkpoints:
    """Writes last.ckpt and best.ckpt of a run directory, each whole or not at all.

    The best state is written together with the last one: validation often improves faster than a file can be written.
    A resumed run finds again the best state that a kill lost, since it starts from the last state that was written.

    Arguments:
        best: the best state.
        directory: the run directory; None writes nothing.
        max_steps: the last step.
    """

    def __init__(self, best: Best, directory: Path | None, max_steps: int) -> None:
        self.best, self.directory, self.max_steps = best, directory, max_steps

    def step(self, step: int, record: Record, state: Callable[[], dict[str, Any]], stopping: bool) -> None:
        """Keep or write what is due after a step; the last step before a stop is always written."""
        self.best.update(step, record, state)
        due = stopping or step == self.max_steps or step % self.best.settings.checkpoint_every == 0
        if self.directory is not None and due:
            check_not_replaced(self.directory)
            rows = self.directory / "metrics.csv"
            with raise_write_error(rows):
                sync(rows)  # a run that resumes from this checkpoint does not make them again
            self.write_best()
            self._write("last.ckpt", state())

    def write_best(self) -> None:
        """Write the best state, if it is not yet."""
        if self.directory is not None and self.best.state is not None and not self.best.is_written:
            self._write("best.ckpt", self.best.state)
            self.best.is_written = True

    def _write(self, name: str, state: dict[str, Any]) -> None:
        assert self.directory is not None
        directory = self.directory / "checkpoints"
        with raise_write_error(directory):
            directory.mkdir(exist_ok=True)
        write_checkpoint(directory / name, state)
