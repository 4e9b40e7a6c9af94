"""Flows and other modules as Lightning modules, for any Trainer, callback, logger, strategy and precision."""

from __future__ import annotations

from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.objectives.base import Objective, as_objective
from flowlab.optimizers.base import Optimizer, as_optimizer
from flowlab.seeding import generator
from flowlab.targets.base import Batch, ExactTarget, Minibatch, Target

STEPS_PER_EPOCH = 100  # for an objective without points of the target, whose loader holds step numbers alone


class FlowModule(pl.LightningModule):
    """Trains a flow on batches x, [x] or [x, context] of a DataLoader: by maximum likelihood, or by another objective.

    It logs `train_nll`, `val_nll` and `test_nll` in nats, averaged over points; for another objective `train_loss`.

    An objective that needs no points of the target, such as reverse_kl, needs no DataLoader for training. The module
    draws the points of the flow, as a function of the seed and the step. An epoch has 100 steps.

    Arguments:
        flow: the flow.
        optimizer: a name, as "adam", "adamw" or "sgd", or an object of `flowlab.optimizers`; its `schedule` and `clip`
            are left to Lightning.
        lr: learning rate, where `optimizer` is a name; None is its default.
        objective: a name, as "reverse_kl", or an object of `flowlab.objectives`.
        target: the distribution to learn, for an objective that needs its density.
        batch_size: the number of points of the flow in a step, over all processes, where the objective draws them.
        seed: seeds these points.

    Raises:
        ConfigError: there is no such optimizer or objective, or the target has not what the objective needs.

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

    def __init__(
        self,
        flow: Flow,
        optimizer: str | Optimizer = "adam",
        lr: float | None = None,
        objective: str | Objective = "maximum_likelihood",
        target: Target | None = None,
        batch_size: int = 512,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.flow, self.target = flow, target
        self.optimizer = as_optimizer(optimizer, lr)
        self.objective = as_objective(objective)
        self.batch_size, self.seed = batch_size, seed
        if target is not None:
            self.objective.check_training(target, flow)
        elif self.objective.needs_density or not self.objective.needs_points:
            raise ConfigError(
                f"objective={self.objective.name}: needs a target; give it, as in "
                f'FlowModule(flow, objective="{self.objective.name}", target=target)'
            )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log densities of points, in nats."""
        return self.flow.log_prob(x, context)

    def train_dataloader(self) -> Any:
        """The numbers of steps, for an objective that draws its own points; others need a DataLoader of points."""
        if self.objective.needs_points:
            return super().train_dataloader()
        return DataLoader(range(STEPS_PER_EPOCH), batch_size=None)  # type: ignore[arg-type]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        given = self._points(batch) if self.objective.needs_points else self._draw_base_points()
        minibatch = Minibatch(given, torch.tensor(self.global_step, device=given.x.device))
        loss = self.objective(self.flow, minibatch, self.target)  # type: ignore[arg-type]
        self.log(f"train_{self.objective.log_name}", loss, prog_bar=True, batch_size=len(given.x))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._nll(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._nll(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer.for_torch(self.flow.parameters())

    def _nll(self, batch: Any, split: str) -> Tensor:
        x, context = self._points(batch)
        nll = -self.flow.log_prob(x, context).mean()
        self.log(f"{split}_nll", nll, prog_bar=True, batch_size=len(x), sync_dist=True)
        return nll

    def _points(self, batch: Any) -> Batch:
        return Batch(*(*batch, None)[:2]) if isinstance(batch, list | tuple) else Batch(batch)

    def _draw_base_points(self) -> Batch:
        """This rank's part of the points of the present batch."""
        if isinstance(self.target, ExactTarget):
            self.target.to_(self.device)
        draws = generator(self.seed, "base", self.trainer.fit_loop.epoch_loop.total_batch_idx, self.device)
        x = self.flow.rsample_base((self.batch_size,), None, draws)
        return Batch(x[self.global_rank :: self.trainer.world_size])


class LossModule(pl.LightningModule):
    """Trains a module with a `loss`, such as a variational autoencoder, on batches x, [x] or [x, ...] of a DataLoader.

    The loss is `loss(x)`, or `loss(x, noise)` where the module has `draw_noise(x, generator)`: see `flowlab.fit`. The
    noise of a batch depends on the seed, the step and the rank alone. It logs `train_loss`, `val_loss` and `test_loss`,
    averaged over rows.

    Arguments:
        module: the module.
        optimizer, lr: as in FlowModule.
        seed: the seed of the noise.

    Raises:
        TypeError: the module has no loss.

    Example:
        >>> import pytorch_lightning as pl, torch
        >>> from torch.utils.data import DataLoader
        >>> from flowlab.training.lightning import LossModule
        >>> from flowlab.vae import build_vae
        >>> module = LossModule(build_vae(pixels=4, latent=2, hidden=[8]), lr=0.01)
        >>> options = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        >>> trainer = pl.Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **options)
        >>> trainer.fit(module, DataLoader(torch.rand(64, 4), batch_size=32))
        >>> trainer.global_step
        2
    """

    def __init__(
        self, module: nn.Module, optimizer: str | Optimizer = "adam", lr: float | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        if not callable(getattr(module, "loss", None)):
            raise TypeError(f"LossModule: {type(module).__name__} has no method loss(x); define one")
        self.module, self.seed = module, seed
        self.optimizer = as_optimizer(optimizer, lr)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._loss(batch, "train", self.global_step)

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._loss(batch, "val", batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._loss(batch, "test", batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer.for_torch(self.module.parameters())

    def _loss(self, batch: Any, split: str, step: int) -> Tensor:
        x, module = batch[0] if isinstance(batch, list | tuple) else batch, cast(Any, self.module)
        draws = generator(self.seed, f"{split} noise of rank {self.global_rank}", step, x.device)
        has_noise = hasattr(module, "draw_noise")
        loss: Tensor = module.loss(x, module.draw_noise(x, draws)) if has_noise else module.loss(x)
        self.log(f"{split}_loss", loss, prog_bar=True, batch_size=len(x), sync_dist=split != "train")
        return loss
