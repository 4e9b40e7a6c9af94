"""An optimizer: a dataclass of typed settings with an update of flattened parameters."""

from dataclasses import dataclass
from typing import ClassVar

from flowlab.config.component import setting
from flowlab.optimizers.base import Optimizer


@dataclass(kw_only=True)
class Lion(Optimizer):
    """x -= lr sign(blend m + (1 - blend) g), then m = decay m + (1 - decay) g.

    Arguments:
        lr, schedule, clip: see Optimizer.
        blend: the weight of the running average in the step.
        decay: the decay of the running average.

    Reference:
        | Symbolic Discovery of Optimization Algorithms (Xiangning Chen et al., 2023)
        | https://arxiv.org/abs/2302.06675
    """

    blend: float = setting(0.9, minimum=0, maximum=1, per_job=True)
    decay: float = setting(0.99, minimum=0, maximum=1)

    moments: ClassVar[tuple[str, ...]] = ("average",)

    def rates(self, step, max_steps):
        return [self.learning_rate(step, max_steps), self.blend]

    def update(self, numbers, gradients, moments, rates):
        lr, blend = rates
        (average,) = moments
        direction = (blend * average + (1 - blend) * gradients).sign()
        return numbers - lr * direction, [self.decay * average + (1 - self.decay) * gradients]
