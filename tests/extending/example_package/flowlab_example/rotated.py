"""A conditional target: a plain class; its constructor arguments are the keys."""

import math

import torch

from flowlab.targets import Batch, ExactTarget
from flowlab.targets.draws import randn


class Rotated(ExactTarget):
    """x | c ~ N(distance (cos c, sin c), I / 4), with a standard normal context c.

    Arguments:
        distance: the distance of the mean from 0.
        train_size: see ExactTarget.
    """

    dim = 2
    context_shape = (1,)

    def __init__(self, distance: float = 2.0, train_size: int | None = None):
        super().__init__(train_size)
        self.distance = distance
        self.bounds = ((-distance - 2, distance + 2),) * 2
        self.entropy = 1 + math.log(2 * math.pi) + 2 * math.log(0.5)

    def draw_batch(self, count, generator, dtype):
        return Batch(randn((count, 2), generator, dtype), randn((count, 1), generator, dtype))

    def batch_from_draws(self, drawn):
        return Batch(0.5 * drawn.x + self._mean(drawn.context), drawn.context)

    def log_prob(self, x, context=None):
        standard = (x - self._mean(context)) / 0.5
        return -0.5 * standard.square().sum(-1) - math.log(2 * math.pi) - 2 * math.log(0.5)

    def _mean(self, context):
        return self.distance * torch.cat([context.cos(), context.sin()], -1)
