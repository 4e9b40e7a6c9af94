"""The interface of a task: a prior of parameters, and a simulator of data given parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flowlab.config.component import Component
from flowlab.config.errors import DataError
from flowlab.targets.base import Bounds
from flowlab.targets.draws import rand

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions.constraints import Constraint

BLOCK = 10_000  # points drawn at a time, at most
MAX_DRAWS = 10_000_000


class Task(Component):
    """A prior p(theta) and a simulator p(x | theta); the posterior p(theta | x) is what a flow learns.

    Attributes:
        dim: the number of parameters.
        data_dim: the number of values that one simulation gives.
        bounds: the interval of each parameter that figures show.
    """

    dim: int
    data_dim: int
    bounds: Bounds

    @property
    def support(self) -> Constraint:
        """The constraint that parameters of positive prior density satisfy."""
        from torch.distributions import constraints

        return constraints.real_vector

    def draw_prior(self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        """Parameters of shape (count, dim) from the prior."""
        raise NotImplementedError(f"{type(self).__name__} must define draw_prior(count, generator, dtype)")

    def simulate(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        """Data of shape (n, data_dim): one simulation for each row of parameters of shape (n, dim)."""
        raise NotImplementedError(f"{type(self).__name__} must define simulate(theta, generator)")

    def sample_posterior(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Exact samples of the posterior given one observation of shape (data_dim,); of shape (count, dim).

        Raises:
            NotImplementedError: the posterior has no exact sampler.
        """
        raise NotImplementedError(f"{type(self).__name__} has no exact sampler of its posterior")


class BoxTask(Task):
    """A task whose prior is uniform on [-bound, bound]^dim."""

    bound: float

    @property
    def support(self) -> Constraint:
        from torch.distributions import constraints

        return constraints.independent(constraints.interval(-self.bound, self.bound), 1)

    @property
    def bounds(self) -> Bounds:  # type: ignore[override]
        return ((-1.05 * self.bound, 1.05 * self.bound),) * self.dim

    def draw_prior(self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        return self.bound * (2 * rand((count, self.dim), generator, dtype) - 1)


def draw_inside(draw: Callable[[int], Tensor], support: Constraint, count: int) -> tuple[Tensor, float]:
    """Draw points until `count` of them lie in a support, and the share of all draws that did.

    Arguments:
        draw: gives n points of shape (n, dim).
        support: a constraint on vectors.
        count: the number of points to keep.

    Raises:
        DataError: fewer than `count` of MAX_DRAWS draws lie inside.
    """
    import torch

    kept: list[Tensor] = []
    inside = drawn = 0
    number = 2 * count
    while drawn < MAX_DRAWS:
        number = min(number, BLOCK)
        points = draw(number)
        kept.append(points[support.check(points)])
        drawn += number
        inside += len(kept[-1])
        if inside >= count:
            return torch.cat(kept)[:count], inside / drawn
        number *= 2
    raise DataError(
        f"only {inside} of {drawn:,} samples lie in the support of the prior, and {count} are needed; train the flow "
        "longer, or check the observation"
    )
