"""Maximum likelihood: the objective of points of a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowlab.config.registry import register
from flowlab.objectives.base import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.targets.base import Batch, Target


@register("objective", "maximum_likelihood")
@dataclass
class MaximumLikelihood(Objective):
    """-mean log q(x | context) over points x of the target: the average negative log likelihood."""

    log_name: ClassVar[str] = "nll"

    def __call__(self, flow: Flow, batch: Batch, target: Target) -> Tensor:
        return -flow.prepared().log_prob(batch.x, batch.context).mean()
