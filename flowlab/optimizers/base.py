"""The interface of an optimizer, Adam, AdamW and SGD, as pure functions for one flow, a stack and a compiled step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from flowlab.config.component import Component, as_typed, setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import lookup, register

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
        warmup: over this many first steps the learning rate rises to the schedule's, in equal parts.

    Attributes:
        moments: names of the rows that it keeps beside the parameters, as torch's optimizer names them; all begin at 0.

    Reference:
        | SGDR: Stochastic Gradient Descent with Warm Restarts (Ilya Loshchilov, Frank Hutter, 2016)
        | https://arxiv.org/abs/1608.03983
    """

    lr: float = setting(0.01, above=0, per_job=True)
    schedule: str = setting("cosine", choices=("cosine", "constant"), per_job=True)
    clip: float | None = setting(None, above=0)
    warmup: int = setting(0, minimum=0, per_job=True)

    moments: ClassVar[tuple[str, ...]] = ()

    def learning_rate(self, step: int, max_steps: int) -> float:
        """The learning rate of a step, counted from 0."""
        lr = self.lr if self.schedule == "constant" else 0.5 * self.lr * (1 + math.cos(math.pi * step / max_steps))
        return lr * (step + 1) / self.warmup if step < self.warmup else lr

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


def as_optimizer(optimizer: str | Optimizer, lr: float | None = None, **settings: Any) -> Optimizer:
    """Return the optimizer of a name, with its settings and learning rate; an optimizer is returned unchanged."""
    if not isinstance(optimizer, Optimizer):
        given = settings if lr is None else settings | {"lr": lr}
        return as_typed(lookup("optimizer", optimizer, "optimizer"), given, "")
    if lr is not None:
        raise ConfigError(f"lr={lr}: the optimizer has a learning rate already; leave one of them out")
    return optimizer


@register("optimizer", "adam")
@dataclass(kw_only=True)
class Adam(Optimizer):
    """Adam as torch computes it: m and v are running means of g and g^2, and x falls by lr m' / (sqrt(v') + eps).

    Arguments:
        lr, schedule, clip, warmup: see Optimizer.
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
        from torch import optim

        return optim.Adam(parameters, lr=self.lr, betas=(self.betas[0], self.betas[1]), eps=self.eps)


@register("optimizer", "adamw")
@dataclass(kw_only=True)
class AdamW(Adam):
    """Adam whose parameters first shrink by the factor 1 - lr * weight_decay.

    Arguments:
        lr, schedule, clip, warmup, betas, eps: see Adam.
        weight_decay: strength of the shrinkage, at least 0; null follows the number of rows and columns.

    Reference:
        | Decoupled Weight Decay Regularization (Ilya Loshchilov, Frank Hutter, 2019)
        | https://arxiv.org/abs/1711.05101
    """

    weight_decay: float = setting(0.01, minimum=0, follows_data=True)

    def follow_data(self, rows: int, columns: int) -> AdamW:
        """A weight decay of null is (250 columns / rows)^2, at most 1."""
        decay = min(1.0, (250 * columns / rows) ** 2) if self.weight_decay is None else self.weight_decay
        return replace(self, weight_decay=decay)

    def update(
        self, numbers: Tensor, gradients: Tensor, moments: Sequence[Tensor], rates: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        return super().update(numbers * (1 - rates[0] * self.weight_decay), gradients, moments, rates)

    def for_torch(self, parameters: Any) -> torch.optim.Optimizer:
        from torch import optim

        betas = (self.betas[0], self.betas[1])
        return optim.AdamW(parameters, lr=self.lr, betas=betas, eps=self.eps, weight_decay=self.weight_decay)


@register("optimizer", "sgd")
@dataclass(kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum: b = momentum b + g + weight_decay x, and x falls by lr b.

    Arguments:
        lr, schedule, clip, warmup: see Optimizer.
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
        from torch import optim

        return optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
