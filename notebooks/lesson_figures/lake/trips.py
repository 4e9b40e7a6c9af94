"""Good trips around a round lake, and the probability that a policy sends its agent into the water."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from flowlab.seeding import generator

RADIUS = 1.4  # of the lake
SIDES = torch.tensor([-1.0, 1.0], dtype=torch.float64)  # west, east


class Density(Protocol):
    """A policy that can be evaluated."""

    def log_prob(self, x: Tensor, /) -> Tensor:
        """Return the log density in nats of points of shape (n, 2), of shape (n,)."""
        ...


class Trips:
    """Waypoints of good trips: half in the west and half in the east of a lake around the origin.

    The distance from the origin is normal with mean 2.2 and standard deviation 0.25. The angle from due west or due
    east is normal with standard deviation 0.4 rad.

    Example:
        >>> from flowlab.seeding import generator
        >>> from lesson_figures import Trips
        >>> Trips().sample(1000, generator(0, "trips")).shape
        torch.Size([1000, 2])
    """

    def __init__(self) -> None:
        zero = torch.zeros((), dtype=torch.float64)
        self.distance, self.angle = Normal(zero + 2.2, zero + 0.25), Normal(zero, zero + 0.4)

    def sample(self, count: int, random: torch.Generator) -> Tensor:
        """Return waypoints of shape (count, 2) in double precision."""
        side = SIDES[torch.randint(2, (count,), generator=random)]
        r = self.distance.mean + self.distance.stddev * torch.randn(count, generator=random, dtype=torch.float64)
        phi = self.angle.mean + self.angle.stddev * torch.randn(count, generator=random, dtype=torch.float64)
        return torch.stack([side * r * phi.cos(), r * phi.sin()], -1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density in nats, of shape (n,): polar coordinates divide by r, and both sides are averaged."""
        r = x.norm(dim=-1)
        phi = torch.atan2(x[..., 1:], SIDES * x[..., :1])  # as seen from each side
        either = torch.logsumexp(self.angle.log_prob(phi), -1) - math.log(2)
        return self.distance.log_prob(r) - r.log() + either


@torch.no_grad()
def water_probability(policy: Density, radius: float = RADIUS) -> float:
    """Return the probability of a disc around the origin, by quadrature with 40 radii and 200 angles.

    Arguments:
        policy: its density takes points in double precision.
        radius: the radius of the disc.

    Example:
        >>> from lesson_figures import Trips, water_probability
        >>> round(water_probability(Trips()), 6)  # the normal probability of -3.2
        0.000687
    """
    node, weight = np.polynomial.legendre.leggauss(40)
    radii, angles = (node + 1) / 2, 2 * np.pi * np.arange(200) / 200
    disc = np.stack([np.outer(radii, f(angles)).ravel() for f in (np.cos, np.sin)], -1)
    area = torch.tensor(np.repeat(weight / 2 * radii * 2 * np.pi / 200, 200))
    return float((policy.log_prob(radius * torch.tensor(disc)).exp() * radius**2 * area).sum())


def maximize_likelihood(
    points: Tensor, log_prob: Callable[[Tensor], Tensor], parameters: Iterable[Tensor], steps: int, seed: int
) -> None:
    """Fit parameters in place, by Adam with minibatches of 256 points and a cosine schedule from 0.03.

    Arguments:
        points: training points of shape (n, 2).
        log_prob: the log density in nats as a function of points.
        parameters: leaf tensors that require gradients.
        steps: the number of optimizer steps.
        seed: the seed of the minibatches.

    Example:
        >>> import torch
        >>> from lesson_figures import maximize_likelihood
        >>> mean = torch.zeros(2, requires_grad=True)
        >>> maximize_likelihood(torch.ones(500, 2), lambda x: -(x - mean).square().sum(-1), [mean], steps=200, seed=0)
        >>> mean.detach().round().tolist()
        [1.0, 1.0]
    """
    optimizer = torch.optim.Adam(parameters, lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        chosen = torch.randint(len(points), (256,), generator=generator(seed, "batch", step))
        loss = -log_prob(points[chosen]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
