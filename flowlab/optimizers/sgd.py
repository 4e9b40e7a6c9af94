"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.optimizers.base import Optimizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@register("optimizer", "sgd")
@dataclass(kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum: b = momentum b + g + weight_decay x, and x falls by lr b.

    Arguments:
        lr, schedule, clip: see Optimizer.
        momentum: decay of the running sum b, from 0 to 1.
        weight_decay: strength of the quadratic penalty on the parameters, at least 0.
    """

    momentum: float = setting(0.0, minimum=0, maximum=1)
    weight_decay: float = setting(0.0, minimum=0)

    moments: ClassVar[tuple[str, ...]] = ("momentum_buffer",)

    def update(
        self, numbers: Tensor, gradients: Tensor, moments: Sequence[Tensor], rates: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        buffer = moments[0] * self.momentum + gradients + self.weight_decay * numbers
        return numbers - rates[0] * buffer, [buffer]

    def for_torch(self, parameters: Any) -> torch.optim.Optimizer:
        from torch.optim import SGD as TorchSGD

        return TorchSGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
