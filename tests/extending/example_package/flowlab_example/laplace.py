"""A target with an exact density: a dataclass of typed settings."""

import math
from dataclasses import dataclass

from flowlab.config.component import setting
from flowlab.targets.base import ExactTarget
from flowlab.targets.draws import rand


@dataclass
class Laplace(ExactTarget):
    """Independent Laplace distributions with one scale in `dim` dimensions. The entropy is dim (1 + log 2 scale).

    Arguments:
        dim: the number of coordinates.
        scale: the scale of every coordinate.
        train_size: see ExactTarget.
    """

    dim: int = setting(2, minimum=1, maximum=100)
    scale: float = setting(1.0, above=0)

    def __post_init__(self):
        self.event_shape = (self.dim,)
        self.bounds = ((-5 * self.scale, 5 * self.scale),) * self.dim
        self.entropy = self.dim * (1 + math.log(2 * self.scale))

    def draw(self, count, generator, dtype):
        return rand((count, self.dim), generator, dtype)

    def from_draws(self, drawn):
        centred = drawn - 0.5
        return -self.scale * centred.sign() * (-2 * centred.abs()).clamp(min=-1 + 1e-7).log1p()

    def log_prob(self, x, context=None):
        return (-x.abs() / self.scale - math.log(2 * self.scale)).sum(-1)
