"""Objectives that see the target through its density alone, with a target that is annealed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.objectives.base import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.targets.base import Batch, ExactTarget, Target

FIRST_POWER = 0.01


@dataclass
class DensityObjective(Objective):
    r"""A loss of points of the flow and the target's density there: the target needs no samples and no log Z.

    With annealing, step t sees the density p^beta instead of p, beta = min(1, 0.01 + 0.99 t / anneal). A flat target
    lets the flow find all modes before they become narrow. Until step `anneal` the loss is that of p^beta, which is not
    normalized, and no divergence from p.

    Arguments:
        anneal: the number of steps until the power beta is 1; 0 does not anneal.

    Reference:
        | Variational Inference with Normalizing Flows, section 6.1 (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
    """

    needs_points: ClassVar[bool] = False
    needs_density: ClassVar[bool] = True

    anneal: int = setting(0, minimum=0, kw_only=True)

    def check_training(self, target: Target, flow: Flow | None, steps: int | None = None) -> None:
        super().check_training(target, flow, steps)
        if self.anneal and steps is not None and self.anneal >= steps:
            raise ConfigError(
                f"objective.anneal={self.anneal}: leaves none of the {steps} steps for the target itself; use at most "
                f"{steps - 1}"
            )

    def log_density(self, target: ExactTarget, y: Tensor, batch: Batch) -> Tensor:
        """beta log p(y) in nats, of shape (*), with the power beta of the batch's step; a batch without one has 1."""
        log_prob, step = target.log_prob(y), getattr(batch, "step", None)
        if not self.anneal or step is None:
            return log_prob
        left = (1 - step.to(log_prob.dtype) / self.anneal).clamp(min=0)
        return (1 - (1 - FIRST_POWER) * left) * log_prob
