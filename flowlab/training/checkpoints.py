"""When a run saves itself: its last state every so many steps, and with it the state that validated best."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from flowlab.config.schemas import Config
from flowlab.runs.checkpoint_file import write_checkpoint
from flowlab.system.files import raise_write_error, sync
from flowlab.system.lock import check_not_replaced
from flowlab.training.record import Record


class Saving:
    """Which checkpoints of a run are due; keeps the best one in memory until the last one is written too.

    Validation often improves while a file takes longer to write than many steps to train. What a kill loses of the
    best state, the resumed run finds again, for it starts from the last state that was written.

    Arguments:
        config: of the run.
        directory: for the files.
    """

    def __init__(self, config: Config, directory: Path) -> None:
        self.config, self.directory = config, directory
        self.best_nll, self.best_step = math.inf, 0
        self.best: dict[str, Any] | None = None

    def step(self, step: int, record: Record, checkpoint: Callable[[], dict[str, Any]], stopping: bool) -> None:
        """Keep or write what is due after a step, of which `checkpoint` gives all; the last one before a stop is."""
        held_out = record.held_out if "nll" in record.row and record.row_step == step else None
        if held_out and held_out.nll < self.best_nll and not self._given_up(step, record):
            self.best_nll, self.best_step = held_out.nll, step
            self.best = copy.deepcopy(checkpoint())
        if stopping or step % self.config.trainer.checkpoint_every == 0 or step == self.config.max_steps:
            check_not_replaced(self.directory.parent)
            rows = self.directory.parent / "metrics.csv"
            with raise_write_error(rows):
                sync(rows)  # a run that goes on from this checkpoint does not make them again
            self.write_best()
            self._write("last.ckpt", checkpoint())

    def write_best(self) -> None:
        """Write the best state, if it is not yet."""
        if self.best is not None:
            self._write("best.ckpt", self.best)
        self.best = None

    def _write(self, name: str, checkpoint: dict[str, Any]) -> None:
        with raise_write_error(self.directory):
            self.directory.mkdir(exist_ok=True)
        write_checkpoint(self.directory / name, checkpoint)

    def _given_up(self, step: int, record: Record) -> bool:
        """Whether finite data are being learned by heart: then a later best on few held-out points is chance.

        Reference:
            | Early Stopping - But When? (Lutz Prechelt, 1998)
            | https://doi.org/10.1007/3-540-49430-8_3
        """
        trainer = self.config.trainer
        if record.target.train_size is None or trainer.patience is None or not self.best_step:
            return False
        return step - self.best_step > trainer.patience * trainer.validate_every

    def state_dict(self) -> dict[str, Any]:
        return {"best_nll": self.best_nll, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_nll, self.best_step = state["best_nll"], state["best_step"]


class Checkpoints(pl.Callback):
    """Writes `last.ckpt` and `best.ckpt`, each whole or not at all.

    Lightning's ModelCheckpoint would do, but it stores the absolute directory in every checkpoint and numbers a second
    file of the same name.
    """

    def __init__(self, saving: Saving, record: Record) -> None:
        self.saving, self.record = saving, record

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.is_global_zero:
            checkpoint = trainer._checkpoint_connector.dump_checkpoint
            self.saving.step(trainer.global_step, self.record, checkpoint, trainer.should_stop)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        with contextlib.suppress(OSError):  # the disk may be what went wrong
            self.saving.write_best()

    def state_dict(self) -> dict[str, Any]:
        return self.saving.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.saving.load_state_dict(state_dict)
