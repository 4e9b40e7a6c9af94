"""Two-dimensional targets with shapes that flows find hard: uniform, checkerboard, eight_gaussians, two_moons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.targets.base import ExactTarget
from flowlab.targets.draws import rand, randn, stack

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions.constraints import Constraint


@register("target", "uniform")
@dataclass
class Uniform(ExactTarget):
    """Uniform on a box. Entropy, closed form: the log of its volume, in nats.

    Arguments:
        low, high: two opposite corners, a number for each coordinate, low < high.
        train_size: see ExactTarget.

    Raises:
        ValueError: the corners do not fit each other.
    """

    low: list[float] = setting([0.0, 0.0])
    high: list[float] = setting([1.0, 1.0])

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        if not low or len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"low={list(low)}: must be below high={list(high)}, with as many coordinates")
        self.event_shape = (len(low),)
        self.bounds = tuple((a - 0.2 * (b - a), b + 0.2 * (b - a)) for a, b in zip(low, high, strict=True))
        self.entropy = sum(math.log(b - a) for a, b in zip(low, high, strict=True))

    @cached_property
    def _corners(self) -> tuple[Tensor, Tensor]:
        import torch

        return torch.tensor(self.low, dtype=torch.float64), torch.tensor(self.high, dtype=torch.float64)

    @property
    def support(self) -> Constraint:
        from torch.distributions import constraints

        return constraints.independent(constraints.interval(*self._corners), 1)

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        return rand((count, self.dim), generator, dtype)

    def from_draws(self, drawn: Tensor) -> Tensor:
        low, high = self._corners
        return low.to(drawn) + (high - low).to(drawn) * drawn

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        low, high = self._corners
        return _uniform_log_prob(((x >= low.to(x)) & (x <= high.to(x))).all(-1), x, self.entropy)  # type: ignore[arg-type]


@register("target", "checkerboard")
@dataclass
class Checkerboard(ExactTarget):
    """Uniform on the 8 black squares, of side 2, of a 4 x 4 board on [-4, 4]^2. Entropy, closed form: log 32 nats.

    Reference:
        | Neural Spline Flows (Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032
    """

    bounds = ((-5.0, 5.0), (-5.0, 5.0))
    entropy = math.log(32.0)
    positive_on_support = False  # half of the squares are empty

    @property
    def support(self) -> Constraint:
        from torch.distributions import constraints

        return constraints.independent(constraints.interval(-4.0, 4.0), 1)

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        return rand((count, 3), generator, dtype)

    def from_draws(self, drawn: Tensor) -> Tensor:
        import torch

        # Two unit coordinates place a point in its square, a third picks one of the eight.
        square = (drawn[..., 2] * 8).floor().clamp(max=7)
        row = (square / 2).floor()
        column = 2 * (square - 2 * row) + row.remainder(2)
        # Below 1 by more than rounding, also to single precision, so no point reaches the next square.
        within = drawn[..., :2].clamp(max=1 - 8 * torch.finfo(torch.float32).eps)
        return 2 * (stack(column, row) + within) - 4

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        column, row = ((x.double() + 4) / 2).floor().unbind(-1)  # single precision would round into the next square
        return _uniform_log_prob(((column + row).remainder(2) == 0) & (x.abs() <= 4).all(-1), x, self.entropy)


@register("target", "eight_gaussians")
@dataclass
class EightGaussians(ExactTarget):
    """Eight equal Gaussians on a circle. Entropy by quadrature.

    Arguments:
        radius: the circle's, positive.
        scale: standard deviation of each Gaussian, at least radius / 400 (the quadrature would miss narrower ones).
        train_size: see ExactTarget.

    Raises:
        ValueError: the scale is too small.
    """

    radius: float = setting(4.0, above=0)
    scale: float = setting(0.5, above=0)

    def __post_init__(self) -> None:
        radius, scale = self.radius, self.scale
        if scale < radius / 400:
            raise ValueError(f"scale={scale}: must be at least radius / 400 = {radius / 400}")
        self.bounds = ((-radius - 4 * scale, radius + 4 * scale),) * 2
        self.quadrature_bounds = ((-radius - 10 * scale, radius + 10 * scale),) * 2

    @cached_property
    def centres(self) -> Tensor:
        """The means, of shape (8, 2)."""
        import torch

        return self.radius * _upper(torch.arange(8, dtype=torch.float64) * (math.pi / 4))

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        import torch

        mode = torch.randint(8, (count, 1), generator=generator, device=generator.device)
        blur = randn((count, 2), generator, dtype)
        return torch.cat([mode.to(blur), blur], dim=-1)

    def from_draws(self, drawn: Tensor) -> Tensor:
        mode, blur = drawn[..., 0].long(), drawn[..., 1:]
        return self.centres.to(drawn)[mode] + self.scale * blur

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        distance = (x.unsqueeze(-2) - self.centres.to(x)).square().sum(-1)
        return (-0.5 * distance / self.scale**2).logsumexp(-1) - math.log(16 * math.pi * self.scale**2)


@register("target", "two_moons")
@dataclass
class TwoMoons(ExactTarget):
    r"""Two half circles of radius 1, one at (0, 0) open below, one at (1, 0.5) open above, blurred by a Gaussian.

    The density is an integral over the angle t in [0, pi] of Gaussians around the points of each arc. Gauss-Legendre
    quadrature with `nodes` nodes computes it; their spacing is below the width of the Gaussian, so the error is at
    rounding. Entropy by quadrature.

    Arguments:
        noise: standard deviation of the blur, at least 0.05 (the nodes would be too few for less).
        train_size: see ExactTarget.

    Raises:
        ValueError: the noise is too small.
    """

    noise: float = setting(0.1, minimum=0.05)

    nodes = 128
    quadrature_size = 400

    def __post_init__(self) -> None:
        noise = self.noise
        if noise < 0.05:
            raise ValueError(f"noise={noise}: must be at least 0.05")
        self.bounds = ((-1 - 6 * noise, 2 + 6 * noise), (-0.5 - 6 * noise, 1 + 6 * noise))
        self.quadrature_bounds = ((-1 - 10 * noise, 2 + 10 * noise), (-0.5 - 10 * noise, 1 + 10 * noise))

    @cached_property
    def _arcs(self) -> tuple[Tensor, Tensor]:
        """Points along both arcs, of shape (2 nodes, 2), and the logs of their weights."""
        import numpy as np
        import torch

        node, weight = np.polynomial.legendre.leggauss(self.nodes)
        angle = torch.from_numpy(math.pi / 2 * (node + 1))
        return torch.cat([_upper(angle), _lower(angle)]), torch.from_numpy(np.log(weight / 4)).repeat(2)

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        import torch

        return torch.cat([rand((count, 2), generator, dtype), randn((count, 2), generator, dtype)], dim=-1)

    def from_draws(self, drawn: Tensor) -> Tensor:
        unit, blur = drawn[..., :2], drawn[..., 2:]
        angle = math.pi * unit[..., 0]
        return _upper(angle).where(unit[..., 1:] < 0.5, _lower(angle)) + self.noise * blur

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        import torch

        parts = [self._log_prob(part) for part in x.reshape(-1, 2).split(20_000)]
        return torch.cat(parts).reshape(x.shape[:-1])

    def _log_prob(self, x: Tensor) -> Tensor:
        arcs, log_weights = (constant.to(x) for constant in self._arcs)
        distance = x.square().sum(-1, keepdim=True) - 2 * x @ arcs.mT + arcs.square().sum(-1)
        exponent = log_weights - 0.5 * distance / self.noise**2
        return exponent.logsumexp(-1) - math.log(2 * math.pi * self.noise**2)


def _uniform_log_prob(inside: Tensor, x: Tensor, entropy: float) -> Tensor:
    return x.new_full(inside.shape, -entropy).where(inside, x.new_full((), -math.inf))


def _upper(angle: Tensor) -> Tensor:
    return stack(angle.cos(), angle.sin())


def _lower(angle: Tensor) -> Tensor:
    return stack(1 - angle.cos(), 0.5 - angle.sin())
