"""A simulator whose data cannot tell a parameter from its opposite."""

from dataclasses import dataclass

from flowlab.targets.draws import randn
from flowlab.targets.tasks.base import Task


@dataclass
class Parabola(Task):
    """theta ~ N(0, 1) and x | theta ~ N(theta^2, 0.1), by standard deviation."""

    dim = data_dim = 1
    bounds = ((-3.0, 3.0),)

    def draw_prior(self, count, generator, dtype=None):
        return randn((count, 1), generator, dtype)

    def simulate(self, theta, generator):
        return theta.square() + 0.1 * randn(tuple(theta.shape), generator, theta.dtype)
