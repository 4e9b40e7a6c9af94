"""When a run saves itself: the last state every so many steps, the best one whenever validation improves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from flowlab.files import write_atomically
from flowlab.training.module import FlowModule


class Checkpoints(pl.Callback):
    """Writes `last.ckpt` and `best.ckpt`, each whole or not at all.

    Lightning's ModelCheckpoint would do, but it stores the absolute directory in every checkpoint and numbers a second
    file of the same name.
    """

    def __init__(self, directory: Path, every: int) -> None:
        self.directory, self.every = directory, every
        self.best_nll, self.best_step = math.inf, 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, FlowModule)
        step = trainer.global_step
        held_out = pl_module.held_out
        if "nll" in pl_module.row and pl_module.row_step == step and held_out and held_out.nll < self.best_nll:
            self.best_nll, self.best_step = held_out.nll, step
            self._save(trainer, "best.ckpt")
        if step % self.every == 0 or step == pl_module.max_steps:
            self._save(trainer, "last.ckpt")

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        self.directory.mkdir(exist_ok=True)
        write_atomically(self.directory / name, trainer.save_checkpoint)

    def state_dict(self) -> dict[str, Any]:
        return {"best_nll": self.best_nll, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_nll, self.best_step = state_dict["best_nll"], state_dict["best_step"]
