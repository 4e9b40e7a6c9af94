"""Adam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import register
from flowlab.optimizers.base import Optimizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@register("optimizer", "adam")
@dataclass(kw_only=True)
class Adam(Optimizer):
    """Adam as torch computes it: m and v are running means of g and g^2, and x falls by lr m' / (sqrt(v') + eps).

    Arguments:
        lr, schedule, clip: see Optimizer.
        betas: decay of the two running means, each from 0 to below 1.
        eps: keeps the division finite.

    Reference:
        | Adam: A Method for Stochastic Optimization (Diederik P. Kingma, Jimmy Ba, 2015)
        | https://arxiv.org/abs/1412.6980
    """

    betas: list[float] = setting([0.9, 0.999])
    eps: float = setting(1e-8, above=0)

    moments: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optimizer.betas={self.betas}: must be two numbers from 0 to below 1")

    def rates(self, step: int, max_steps: int) -> list[float]:
        first, second = (1 - beta ** (step + 1) for beta in self.betas)
        lr = self.learning_rate(step, max_steps)
        return [lr, lr / first, second**0.5]

    def update(
        self, numbers: Tensor, gradients: Tensor, moments: Sequence[Tensor], rates: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        _, rate, root = rates
        first = moments[0].lerp(gradients, 1 - self.betas[0])
        second = (moments[1] * self.betas[1]).addcmul(gradients, gradients, value=1 - self.betas[1])
        return numbers - rate * (first / (second.sqrt() / root + self.eps)), [first, second]

    def for_torch(self, parameters: Any) -> torch.optim.Optimizer:
        from torch.optim import Adam as TorchAdam

        return TorchAdam(parameters, lr=self.lr, betas=(self.betas[0], self.betas[1]), eps=self.eps)
