"""The files that a run writes while it trains: its status, its rows and its checkpoints."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flowlab.config.schema import TrainerConfig
from flowlab.config.security import redact
from flowlab.metrics.evaluation import is_higher_better
from flowlab.optimizers.base import Optimizer
from flowlab.runs.directory import Run
from flowlab.system.files import (
    DISK_FULL,
    WriteError,
    check_not_replaced,
    lock_directory,
    overwrite_json,
    raise_write_error,
    sync,
    write_checkpoint,
    write_json,
)

Measure = Callable[[nn.Module], dict[str, float]]


class Record:
    """The losses since the last row, and the rows.

    Arguments:
        settings: how often a row is logged and a validation runs, in steps.
        max_steps: the last step, which may come to be earlier.
        optimizer: for the learning rate in a row.
        measure: gives the metrics of a module on the held-out points; None without such points.

    Attributes:
        rows: what was logged in this session, by step.
        row, row_step: the last row, and its step.
        highest_loss: the highest loss of a step in the last row.
        metrics: the metrics of the last validation.
        seconds: training time over all sessions of a run.
    """

    def __init__(self, settings: TrainerConfig, max_steps: int, optimizer: Optimizer, measure: Measure | None) -> None:
        self.settings, self.max_steps, self.optimizer, self.measure = settings, max_steps, optimizer, measure
        self._scheduled = max_steps
        self.rows: dict[int, dict[str, float]] = {}
        self.row: dict[str, float] = {}
        self.row_step, self.highest_loss = 0, math.inf
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
        losses = torch.stack(self._window)
        row, self.highest_loss = {"loss": float(losses.mean())}, float(losses.max())
        if self.measure is not None and self.is_validation_due(step):
            self.metrics = self.measure(module)
            row |= self.metrics
        row |= {
            "grad_norm": grad_norm,
            "lr": self.optimizer.learning_rate(step - 1, self._scheduled),
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


class Checkpoints:
    """Keeps the best state, and writes it and the last one into a run directory, each whole or not at all.

    On finite data, which can be memorized, training ends after `patience` validations without a better one. A
    validation does not count while the training loss is above its value at the best one, as after a loss spike. Then
    training recovers, and does not memorize.

    The best state is written together with the last one: validation often improves faster than a file can be written.
    A resumed run finds again the best state that a kill lost, since it starts from the last state that was written.

    Arguments:
        settings: `patience` in validations, and how often a checkpoint is due, in steps.
        max_steps: the last step, which may come to be earlier.
        directory: the run directory; None writes nothing.
        finite: the training data are finite, so they can be memorized.
        metric: the metric that is compared, in nats, with its sign changed if the highest value is best.

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
        self._sign = -1.0 if is_higher_better(metric) else 1.0
        self.best_nll, self.best_step = math.inf, 0
        self.highest_loss, self.spent, self.has_ended = math.inf, 0.0, False
        self.best: dict[str, Any] | None = None
        self._best_is_written = True

    def start(self, record: Record, module: nn.Module, state: Callable[[], dict[str, Any]]) -> None:
        """Count the flow before its first step as a validation, so training never makes it worse."""
        if record.measure is not None:
            nll = self._sign * record.measure(module)[self.metric]
            if nll < self.best_nll:
                self.best_nll, self.best, self._best_is_written = nll, copy.deepcopy(state()), False

    def step(self, step: int, record: Record, state: Callable[[], dict[str, Any]], stopping: bool) -> None:
        """Keep or write what is due after a step; the last step before a stop is always written."""
        state = functools.cache(state)  # the best state may also be the last
        if record.row_step == step and self.metric in record.row:  # a validation
            nll = self._sign * record.row[self.metric]
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


@contextlib.contextmanager
def track_status(*runs: Run, to_the_end: bool = True) -> Iterator[None]:
    """Record that runs are running, then how they end; an error is recorded and raised again.

    Arguments:
        runs: one run, or the runs of a stack.
        to_the_end: the runs are done when the block ends; otherwise more work follows.

    SystemExit is raised again as a KeyboardInterrupt; that and a WriteError say how to resume.
    """
    with contextlib.ExitStack() as locks:
        for run in runs:
            locks.enter_context(lock_directory(run.directory))
        _write_status(runs, status="running")
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as stop:
            for run in runs:
                mark_interrupted(run)
            kind = type(stop) if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt
            raise kind(", ".join(f"resume={run.directory}" for run in runs)) from None
        except WriteError as error:
            for run in runs:
                error.advice = f"; when it can be, continue with resume={run.directory}"
                if not _write_if_possible(run, status="failed", error=str(error)):
                    error.advice += " (status.json cannot be written either, and still says running)"
            raise
        except Exception as error:
            for run in runs:
                _record_failure(run, error)
            raise
        if to_the_end:
            _write_status(runs, status="done")


def mark_interrupted(run: Run) -> None:
    """Record that a run was interrupted, if possible."""
    _write_if_possible(run, status="interrupted", error=f"interrupted; continue with resume={run.directory}")


def mark_failed(run: Run, error: BaseException) -> None:
    """Record that a run failed outside its training; raise ConfigError if another process works on the directory."""
    run.directory.mkdir(parents=True, exist_ok=True)
    with lock_directory(run.directory):
        _record_failure(run, error)


def _record_failure(run: Run, error: BaseException) -> None:
    message, trace = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    content = {"status": "failed", "error": redact(message)}
    if not _write_if_possible(run, **content, traceback=redact(trace)):
        _write_if_possible(run, **content)  # on a nearly full disk


def _write_if_possible(run: Run, **content: str) -> bool:
    """Record how a run has ended; gives False if that cannot be written either."""
    try:
        _write_status([run], **content)
    except WriteError:
        return False
    return True


def _write_status(runs: Sequence[Run], **content: str) -> None:
    for run in runs:
        check_not_replaced(run.directory)
        path = run.directory / "status.json"
        try:
            write_json(path, content)
        except WriteError as error:
            if error.errno not in DISK_FULL or not path.exists():
                raise
            overwrite_json(path, content)
