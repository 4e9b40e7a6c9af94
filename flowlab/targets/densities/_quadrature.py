"""Integrals in one and two dimensions, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Rule = tuple[Tensor, Tensor]


def gauss_legendre(low: float, high: float, nodes: int) -> Rule:
    """The nodes and the weights of the Gauss-Legendre rule on an interval, each of shape (nodes,).

    Example:
        >>> from flowlab.targets.densities._quadrature import gauss_legendre
        >>> node, weight = gauss_legendre(0.0, 1.0, 3)
        >>> round(float((weight * node**5).sum()), 12)
        0.166666666667
    """
    node, weight = np.polynomial.legendre.leggauss(nodes)
    half = (high - low) / 2
    return torch.from_numpy(low + half * (node + 1)), torch.from_numpy(half * weight)


def trapezoid(low: float, high: float, nodes: int) -> Rule:
    """The trapezoidal rule for functions that are periodic, or vanish at both ends; it counts one of the ends.

    For smooth functions of these kinds it converges faster than any power of the spacing.
    """
    spacing = (high - low) / nodes
    return torch.from_numpy(low + spacing * np.arange(nodes)), torch.full((nodes,), spacing, dtype=torch.float64)


def product(first: Rule, second: Rule) -> Rule:
    """The points of a product of two rules, of shape (n m, 2), and their weights, of shape (n m,)."""
    points = torch.cartesian_prod(first[0], second[0])
    return points, torch.cartesian_prod(first[1], second[1]).prod(-1)


def grid(bounds: Sequence[tuple[float, float]], size: int) -> Rule:
    """The points of a size x size grid on a rectangle, of shape (size^2, 2), and the area of one cell for each."""
    axes = [torch.from_numpy(np.linspace(low, high, size)) for low, high in bounds]
    cell = float(np.prod([(high - low) / (size - 1) for low, high in bounds]))
    points = torch.cartesian_prod(*axes)
    return points, points.new_full((len(points),), cell)


def log_integral(log_value: Tensor, weights: Tensor) -> float:
    """The log of the integral of exp(log_value) by the weights of a rule."""
    return float((log_value + weights.log()).logsumexp(0))


def entropy(log_prob: Callable[[Tensor], Tensor], points: Tensor, weights: Tensor) -> float:
    """-E log p in nats by the points and the weights of a rule; a weight includes the Jacobian of the coordinates."""
    values = torch.cat([log_prob(part) for part in points.split(50_000)])
    return float(-(weights * torch.special.xlogy(values.exp(), values.exp())).sum())
