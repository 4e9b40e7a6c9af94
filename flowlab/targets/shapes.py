"""Two-dimensional targets with shapes that flows find hard: uniform, checkerboard, eight_gaussians, two_moons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from flowlab.targets.base import Bounds, ExactTarget, rand, randn


class Uniform(ExactTarget):
    """Uniform on a box. Entropy, closed form: the log of its volume, in nats.

    Arguments:
        low, high: the corners, as many numbers each as there are coordinates, low < high.
        train_size: see ExactTarget.

    Raises:
        ValueError: the corners do not fit each other.
    """

    def __init__(
        self,
        low: Sequence[float] = (0.0, 0.0),
        high: Sequence[float] = (1.0, 1.0),
        train_size: int | None = None,
    ) -> None:
        super().__init__(train_size)
        if not low or len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"Uniform: low={list(low)} must be below high={list(high)} in as many coordinates")
        self.dim = len(low)
        self.low, self.high = torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)
        self.support = constraints.independent(constraints.interval(self.low, self.high), 1)
        self.bounds = tuple((a - 0.2 * (b - a), b + 0.2 * (b - a)) for a, b in zip(low, high, strict=True))
        self.entropy = float((self.high - self.low).log().sum())

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return rand((count, self.dim), generator, dtype)

    def from_draws(self, drawn: Tensor) -> Tensor:
        return self.low.to(drawn) + (self.high - self.low).to(drawn) * drawn

    def log_prob(self, x: Tensor) -> Tensor:
        inside = ((x >= self.low.to(x)) & (x <= self.high.to(x))).all(-1)
        return torch.where(inside, x.new_full((), -self.entropy), -torch.inf)


class Checkerboard(ExactTarget):
    """Uniform on the 8 black squares, of side 2, of a 4 x 4 board on [-4, 4]^2. Entropy, closed form: log 32 nats.

    Reference:
        | Neural Spline Flows (Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032
    """

    bounds: Bounds = ((-5.0, 5.0), (-5.0, 5.0))
    support = constraints.independent(constraints.interval(-4.0, 4.0), 1)
    entropy = math.log(32.0)

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return rand((count, 3), generator, dtype)

    def from_draws(self, drawn: Tensor) -> Tensor:
        # Two unit coordinates place a point in its square, a third picks one of the eight.
        square = (drawn[..., 2] * 8).floor().clamp(max=7)
        row = (square / 2).floor()
        column = 2 * (square - 2 * row) + row.remainder(2)
        # Below 1 by more than rounding, that to single precision too, so that no point reaches the next square.
        within = drawn[..., :2].clamp(max=1 - 8 * torch.finfo(torch.float32).eps)
        return 2 * (torch.stack([column, row], dim=-1) + within) - 4

    def log_prob(self, x: Tensor) -> Tensor:
        column, row = ((x.double() + 4) / 2).floor().unbind(-1)  # a single one would round up into the next square
        black = ((column + row).remainder(2) == 0) & (x.abs() <= 4).all(-1)
        return torch.where(black, x.new_full((), -self.entropy), -torch.inf)


class EightGaussians(ExactTarget):
    """Eight equal Gaussians on a circle. Entropy by quadrature.

    Arguments:
        radius: of the circle, positive.
        scale: standard deviation of each Gaussian, at least radius / 400 (below, the quadrature would miss them).
        train_size: see ExactTarget.

    Raises:
        ValueError: the scale is too small.
    """

    def __init__(self, radius: float = 4.0, scale: float = 0.5, train_size: int | None = None) -> None:
        super().__init__(train_size)
        if scale < radius / 400:
            raise ValueError(f"EightGaussians: scale={scale} must be at least radius / 400 = {radius / 400}")
        self.radius, self.scale = radius, scale
        angle = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
        self.centres = radius * torch.stack([angle.cos(), angle.sin()], dim=-1)
        self.bounds = ((-radius - 4 * scale, radius + 4 * scale),) * 2
        self.quadrature_bounds = ((-radius - 10 * scale, radius + 10 * scale),) * 2

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        mode = torch.randint(8, (count, 1), generator=generator, device=generator.device)
        return torch.cat([mode.to(dtype), randn((count, 2), generator, dtype)], dim=-1)

    def from_draws(self, drawn: Tensor) -> Tensor:
        mode, blur = drawn[..., 0].long(), drawn[..., 1:]
        return self.centres.to(drawn)[mode] + self.scale * blur

    def log_prob(self, x: Tensor) -> Tensor:
        distance = (x.unsqueeze(-2) - self.centres.to(x)).square().sum(-1)
        return torch.logsumexp(-0.5 * distance / self.scale**2, -1) - math.log(16 * math.pi * self.scale**2)


class TwoMoons(ExactTarget):
    r"""Two half circles of radius 1, one at (0, 0) open below, one at (1, 0.5) open above, blurred by a Gaussian.

    The density is an integral over the angle t in [0, pi] of Gaussians around the points of each arc. It is taken by
    Gauss-Legendre quadrature with `nodes` nodes, whose spacing is then below the width of the Gaussian, so that the
    error is at rounding. Entropy by quadrature.

    Arguments:
        noise: standard deviation of the blur, from 0.05 (below, the nodes would be too few).
        train_size: see ExactTarget.

    Raises:
        ValueError: the noise is too small.
    """

    nodes = 128
    quadrature_size = 400

    def __init__(self, noise: float = 0.1, train_size: int | None = None) -> None:
        super().__init__(train_size)
        if noise < 0.05:
            raise ValueError(f"TwoMoons: noise={noise} must be at least 0.05")
        self.noise = noise
        node, weight = np.polynomial.legendre.leggauss(self.nodes)
        angle = torch.from_numpy(math.pi / 2 * (node + 1))
        self.arcs = torch.cat([_upper(angle), _lower(angle)])
        # The weights of both arcs together, as log probabilities.
        self.log_weights = torch.from_numpy(np.log(weight / 4)).repeat(2)
        self.bounds: Bounds = ((-1 - 6 * noise, 2 + 6 * noise), (-0.5 - 6 * noise, 1 + 6 * noise))
        reach = 10 * noise
        self.quadrature_bounds = ((-1 - reach, 2 + reach), (-0.5 - reach, 1 + reach))

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return torch.cat([rand((count, 2), generator, dtype), randn((count, 2), generator, dtype)], dim=-1)

    def from_draws(self, drawn: Tensor) -> Tensor:
        unit, blur = drawn[..., :2], drawn[..., 2:]
        angle = math.pi * unit[..., 0]
        arc = torch.where(unit[..., 1:] < 0.5, _upper(angle), _lower(angle))
        return arc + self.noise * blur

    def log_prob(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, 2)
        parts = [self._log_prob(part) for part in flat.split(20_000)]
        return torch.cat(parts).reshape(x.shape[:-1])

    def _log_prob(self, x: Tensor) -> Tensor:
        arcs = self.arcs.to(x)
        distance = x.square().sum(-1, keepdim=True) - 2 * x @ arcs.mT + arcs.square().sum(-1)
        exponent = self.log_weights.to(x) - 0.5 * distance / self.noise**2
        return torch.logsumexp(exponent, -1) - math.log(2 * math.pi * self.noise**2)


def _upper(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def _lower(angle: Tensor) -> Tensor:
    return torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=-1)
