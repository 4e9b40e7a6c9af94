"""The reverse KL divergence: the objective of a target's density alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowlab.config.registry import register
from flowlab.objectives.base import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.targets.base import Batch, ExactTarget


@register("objective", "reverse_kl")
@dataclass
class ReverseKL(Objective):
    """KL(q || p) = E_q [log q(y) - log p(y)], over points y of the flow made from a minibatch of its base.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
    """

    needs_points: ClassVar[bool] = False
    needs_density: ClassVar[bool] = True
    label: ClassVar[str] = "reverse KL (training)"

    def __call__(self, flow: Flow, batch: Batch, target: ExactTarget) -> Tensor:  # type: ignore[override]
        from flowlab.autocast import full_precision

        y, log_prob = flow.push_forward(batch.x, batch.context)
        with full_precision(y):
            return (log_prob - target.log_prob(y)).mean()
