"""The interface of an optimizer: pure functions of rows of numbers, for one flow, a stack and a compiled step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from flowlab.config.component import Component, as_typed, setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import lookup

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(kw_only=True)
class Optimizer(Component):
    """Settings that every optimizer has, and its update.

    A subclass is a dataclass that defines `moments`, `update`, `for_torch` and, if it needs more numbers of a step than
    the learning rate, `rates`.

    Arguments:
        lr: learning rate.
        schedule: "constant", or "cosine": a half cosine from lr at step 0 to 0 at the last step.
        clip: the largest gradient norm; None does not clip.

    Attributes:
        moments: names of the rows that it keeps beside the parameters, as torch's optimizer names them; all begin at 0.

    Reference:
        | SGDR: Stochastic Gradient Descent with Warm Restarts (Ilya Loshchilov, Frank Hutter, 2016)
        | https://arxiv.org/abs/1608.03983
    """

    lr: float = setting(0.01, above=0, per_job=True)
    schedule: str = setting("cosine", choices=("cosine", "constant"), per_job=True)
    clip: float | None = setting(None, above=0)

    moments: ClassVar[tuple[str, ...]] = ()

    def learning_rate(self, step: int, max_steps: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.schedule == "constant":
            return self.lr
        return 0.5 * self.lr * (1 + math.cos(math.pi * step / max_steps))

    def rates(self, step: int, max_steps: int) -> list[float]:
        """The numbers that `update` needs of a step; the learning rate comes first."""
        return [self.learning_rate(step, max_steps)]

    def update(
        self, numbers: Tensor, gradients: Tensor, moments: Sequence[Tensor], rates: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The parameters and moments after a step.

        Arguments:
            numbers: parameters, a row for each job, of shape (jobs, n).
            gradients: of the same shape, clipped.
            moments: one tensor of the same shape for each name in `moments`.
            rates: each job's `rates`, of shape (k, jobs, 1).
        """
        raise NotImplementedError(f"{type(self).__name__} must define update(numbers, gradients, moments, rates)")

    def for_torch(self, parameters: Any) -> torch.optim.Optimizer:
        """Torch's own optimizer with the same settings, for a loop that is not flowlab's."""
        raise NotImplementedError(f"{type(self).__name__} must define for_torch(parameters)")

    def clipped(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients with at most the norm `clip`, and their norms after clipping, of shape (jobs,)."""
        norms = gradients.norm(dim=-1)
        if self.clip is None:
            return gradients, norms
        factor = (self.clip / (norms + 1e-6)).clamp(max=1.0)
        return gradients * factor[:, None], norms * factor


def as_optimizer(optimizer: str | Optimizer, lr: float | None = None) -> Optimizer:
    """The optimizer that a name, and perhaps a learning rate, describes; an optimizer is returned as it is.

    Raises:
        ConfigError: an unknown name, a wrong learning rate, or a learning rate beside an optimizer.
    """
    if not isinstance(optimizer, Optimizer):
        return as_typed(lookup("optimizer", optimizer, "optimizer"), {} if lr is None else {"lr": lr}, "")
    if lr is not None:
        raise ConfigError(f"lr={lr}: the optimizer has a learning rate already; leave one of them out")
    return optimizer
