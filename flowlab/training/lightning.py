"""A flow as a Lightning module, for any Trainer, callback, logger, strategy and precision of Lightning's."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from flowlab.flow import Flow
from flowlab.optimizers.base import Optimizer, as_optimizer


class FlowModule(pl.LightningModule):
    """Trains a flow by maximum likelihood on batches x, [x] or [x, context] of a DataLoader.

    It logs `train_nll`, `val_nll` and `test_nll` in nats, averaged over points.

    Arguments:
        flow: the flow.
        optimizer: a name, as "adam", "adamw" or "sgd", or an object of `flowlab.optimizers`; its `schedule` and `clip`
            are left to Lightning.
        lr: learning rate, where `optimizer` is a name; None is its default.

    Example:
        >>> import pytorch_lightning as pl, torch
        >>> from torch.utils.data import DataLoader
        >>> from flowlab import Flow, FlowModule, StandardNormal
        >>> from flowlab.bijectors import LowRankAffine
        >>> flow = Flow(StandardNormal(2), LowRankAffine(2))
        >>> loader = DataLoader(torch.randn(64, 2), batch_size=32)
        >>> options = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        >>> trainer = pl.Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **options)
        >>> trainer.fit(FlowModule(flow, lr=0.1), loader)
        >>> trainer.global_step
        2
    """

    def __init__(self, flow: Flow, optimizer: str | Optimizer = "adam", lr: float | None = None) -> None:
        super().__init__()
        self.flow = flow
        self.optimizer = as_optimizer(optimizer, lr)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log densities of points, in nats."""
        return self.flow.log_prob(x, context)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._nll(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._nll(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._nll(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer.for_torch(self.flow.parameters())

    def _nll(self, batch: Any, split: str) -> Tensor:
        x, context = (*batch, None)[:2] if isinstance(batch, list | tuple) else (batch, None)
        nll = -self.flow.log_prob(x, context).mean()
        self.log(f"{split}_nll", nll, prog_bar=True, batch_size=len(x), sync_dist=split != "train")
        return nll
