"""AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.optimizers.adam import Adam

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@register("optimizer", "adamw")
@dataclass(kw_only=True)
class AdamW(Adam):
    """Adam whose parameters first shrink by the factor 1 - lr * weight_decay.

    Arguments:
        lr, schedule, clip, betas, eps: see Adam.
        weight_decay: strength of the shrinkage, at least 0.

    Reference:
        | Decoupled Weight Decay Regularization (Ilya Loshchilov, Frank Hutter, 2019)
        | https://arxiv.org/abs/1711.05101
    """

    weight_decay: float = setting(0.01, minimum=0)

    def update(
        self, numbers: Tensor, gradients: Tensor, moments: Sequence[Tensor], rates: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        return super().update(numbers * (1 - rates[0] * self.weight_decay), gradients, moments, rates)

    def for_torch(self, parameters: Any) -> torch.optim.Optimizer:
        from torch.optim import AdamW as TorchAdamW

        betas = (self.betas[0], self.betas[1])
        return TorchAdamW(parameters, lr=self.lr, betas=betas, eps=self.eps, weight_decay=self.weight_decay)
