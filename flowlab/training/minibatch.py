"""The batch of a training step."""

from __future__ import annotations

from torch import Tensor

from flowlab.targets.base import Batch


class Minibatch(Batch):
    """The batch of a training step, which knows the number of its step, for objectives that change with it.

    Attributes:
        step: how many steps were taken before, a whole number of shape ().
    """

    step: Tensor
