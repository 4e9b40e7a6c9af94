"""What is to be modelled: the interface of every target, and that of targets with an exact density."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowlab.seeding import generator

Bounds = tuple[tuple[float, float], ...]
SPLITS = ("train", "validation", "test")


class Target:
    """Something to model: points of `dim` coordinates, fresh or finite.

    Attributes:
        dim: the number of coordinates.
        bounds: for each coordinate the interval that figures show.
        columns: a name for each coordinate.
        entropy: differential entropy in nats, or None where it is not known.
        train_size: how many points there are to train on; None if each step draws fresh ones.
    """

    dim: int
    bounds: Bounds
    entropy: float | None = None
    train_size: int | None = None

    @property
    def columns(self) -> list[str]:
        return [f"x{number + 1}" for number in range(self.dim)]

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Points of a split, of shape (n, dim); a finite set gives all it has, whatever `count`.

        Arguments:
            split: "train", "validation" or "test"; no two share a point.
            count: how many are wanted.
            seed: of the run.
            dtype: of the points.
        """
        raise NotImplementedError


class ExactTarget(Target):
    """A target whose density is known, so that a flow's KL to it can be measured.

    A subclass defines `from_draws`, `log_prob`, `bounds` and either `entropy` in closed form or nothing, in which case
    it comes from quadrature on `quadrature_bounds` (two dimensions).

    Arguments:
        train_size: train on this many points, drawn once from the seed; None draws fresh points at every step.
    """

    dim = 2
    support: Constraint = constraints.real_vector
    quadrature_bounds: Bounds
    quadrature_size = 1000

    def __init__(self, train_size: int | None = None) -> None:
        self.train_size = train_size

    def sample(self, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        """Points of shape (count, dim), drawn from the generator on its device."""
        return self.from_draws(self.draw(count, generator, dtype))

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """What is random in points, of shape (count, k): here a standard normal number for each coordinate."""
        return randn((count, self.dim), generator, dtype)

    def from_draws(self, drawn: Tensor) -> Tensor:
        """Points of shape (*, dim) from what was drawn for them, of shape (*, k): arithmetic alone, to be compiled."""
        raise NotImplementedError

    def to_(self, device: torch.device | str) -> None:
        """Move its constants to where its points will be, so that no step waits for them."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats at points of shape (*, dim); of shape (*)."""
        raise NotImplementedError

    @cached_property
    def entropy(self) -> float:  # type: ignore[override]
        """-E log p in nats: here by the trapezoidal rule on a grid of `quadrature_size`^2 points in float64.

        For a smooth density that has vanished at the edge of the grid the rule converges faster than any power of
        the spacing.
        """
        grid, area = quadrature_grid(self.quadrature_bounds, self.quadrature_size)
        log_prob = torch.cat([self.log_prob(part) for part in grid.split(50_000)])
        return float(-torch.special.xlogy(log_prob.exp(), log_prob.exp()).sum() * area)

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
        if split == "train" and self.train_size is not None:
            count = self.train_size
        return self.sample(count, generator(seed, f"{split} data"), dtype)


def quadrature_grid(bounds: Bounds, size: int) -> tuple[Tensor, float]:
    """The points of a size x size grid on a rectangle, of shape (size^2, 2) in float64, and the area of one cell."""
    axes = [torch.from_numpy(np.linspace(low, high, size)) for low, high in bounds]
    cell = float(np.prod([(high - low) / (size - 1) for low, high in bounds]))
    return torch.cartesian_prod(*axes), cell


def randn(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)


def rand(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
