"""An objective: a dataclass of typed settings that computes a loss."""

from dataclasses import dataclass
from typing import ClassVar

from flowlab.config.component import setting
from flowlab.objectives.base import Objective


@dataclass
class BoundedLikelihood(Objective):
    """-mean max(log q, floor): an outlier has no gradient.

    Arguments:
        floor: the lower bound of a point's log density, in nats.
    """

    floor: float = setting(-20.0, above=-1000, below=0)

    label: ClassVar[str] = "bounded NLL (training)"

    def __call__(self, flow, batch, target):
        return -flow.prepared().log_prob(batch.x, batch.context).clamp(min=self.floor).mean()
