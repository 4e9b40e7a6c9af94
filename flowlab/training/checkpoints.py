"""When a run saves itself: the last state every so many steps, the best one whenever validation improves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from flowlab.files import write_atomically
from flowlab.schemas import Config
from flowlab.training.record import Record


class Saving:
    """Which checkpoints are due at a step; remembers the best validation."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.best_nll, self.best_step = math.inf, 0

    def due(self, step: int, record: Record) -> list[str]:
        """The files to write at a step."""
        names = []
        held_out = record.held_out if "nll" in record.row and record.row_step == step else None
        if held_out and held_out.nll < self.best_nll and not self._given_up(step, record):
            self.best_nll, self.best_step = held_out.nll, step
            names.append("best.ckpt")
        if step % self.config.trainer.checkpoint_every == 0 or step == self.config.max_steps:
            names.append("last.ckpt")
        return names

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

    def __init__(self, directory: Path, saving: Saving, record: Record) -> None:
        self.directory, self.saving, self.record = directory, saving, record

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        for name in self.saving.due(trainer.global_step, self.record):
            if trainer.is_global_zero:
                self.directory.mkdir(exist_ok=True)
                write_atomically(self.directory / name, trainer.save_checkpoint)
            else:
                trainer.save_checkpoint(self.directory / name)  # takes part, and writes nothing

    def state_dict(self) -> dict[str, Any]:
        return self.saving.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.saving.load_state_dict(state_dict)
