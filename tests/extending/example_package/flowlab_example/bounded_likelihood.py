"""An objective: a dataclass of typed settings that computes a loss."""

from dataclasses import dataclass
from typing import ClassVar

from flowlab.config.component import setting
from flowlab.objectives.base import Objective


@dataclass
class BoundedLikelihood(Objective):
    """-mean max(log q, floor): a point that is far out does not pull.

    Arguments:
        floor: the least log density of a point that counts, in nats.
    """

    floor: float = setting(-20.0, above=-1000, below=0)

    label: ClassVar[str] = "bounded NLL (training)"

    def __call__(self, flow, batch, target):
        return -flow.prepared().log_prob(batch.x, batch.context).clamp(min=self.floor).mean()
