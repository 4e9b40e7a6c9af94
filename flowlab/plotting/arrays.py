"""The arrays of a flow and its target that figures draw: samples, densities on a grid, and the frame."""

from __future__ import annotations

import math
from itertools import chain

import torch
from torch import Tensor

from flowlab.flow import Flow
from flowlab.seeding import generator
from flowlab.targets.base import Bounds, ExactTarget, Target

GRID = 160  # grid points along an axis
POINTS = 4000


def find_bounds(target: Target, flow: Flow, seed: int) -> Bounds:
    """Return the interval of each coordinate that figures show: the target's, or around 99% of a flow's samples."""
    if target.bounds or len(target.event_shape) != 1:
        return target.bounds
    samples = flow_samples(flow, POINTS, seed).double()
    low, high = samples.quantile(torch.tensor([0.005, 0.995], dtype=torch.float64), dim=0)
    margin = 0.15 * (high - low).clamp(min=1e-12)
    return tuple(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def flow_samples(flow: Flow, count: int, seed: int) -> Tensor:
    """Return samples of a flow, of shape (count, event); equal seeds give equal samples."""
    return draw_samples(flow, (count,), None, seed)


@torch.no_grad()
def grid_density(density: Flow | ExactTarget, bounds: Bounds, like: Tensor, size: int = GRID) -> Tensor:
    """Return a density on a grid, of shape (size, size), with x1 along the first index.

    Arguments:
        density: a flow or target in two dimensions.
        bounds: the interval of each axis.
        like: a tensor with the dtype and device to compute in.
        size: grid points along each axis.
    """
    axes = [torch.linspace(low, high, size, dtype=like.dtype, device=like.device) for low, high in bounds]
    points = torch.cartesian_prod(*axes)
    log_prob = density.log_prob(points)
    if isinstance(density, ExactTarget):
        log_prob = torch.where(density.support.check(points), log_prob, -torch.inf)
        if density.log_normalizer is None:
            log_prob = log_prob.log_softmax(0) - sum(math.log((high - low) / (size - 1)) for low, high in bounds)
    return log_prob.exp().reshape(size, size).cpu()


def target_density(
    target: Target, seed: int, like: Tensor, size: int = GRID, bounds: Bounds | None = None
) -> tuple[Tensor, str]:
    """Return a target's density on a grid and its title: the exact density, or else a histogram of the training data.

    A density whose normalizer is not known is normalized on the grid.

    Arguments:
        target: a target in two dimensions.
        seed: the run's seed.
        like, size: see grid_density.
        bounds: the interval of each axis; None is the target's.
    """
    if isinstance(target, ExactTarget):
        known = "exact density" if target.log_normalizer is not None else "density, normalized in this frame"
        return grid_density(target, bounds or target.bounds, like, size), known
    points = target.rows("train", 0, seed, torch.float64).cpu()
    bins = max(8, min(size, int(len(points) ** 0.5)))
    ends = [end for interval in target.bounds for end in interval]
    counts, _ = torch.histogramdd(points, [bins, bins], range=ends, weight=target.row_weights("train"), density=True)
    # A bin covers several grid points.
    return torch.nn.functional.interpolate(counts[None, None], size=(size, size)).squeeze(), "histogram of the data"


def any_tensor(flow: Flow) -> Tensor:
    """Return a parameter or buffer of a flow, which has the flow's dtype and device."""
    return next(chain(flow.parameters(), flow.buffers()))


@torch.no_grad()
def draw_samples(flow: Flow, shape: tuple[int, ...], context: Tensor | None, seed: int) -> Tensor:
    return flow.rsample(shape, context, figure_generator(flow, seed)).cpu()


def figure_generator(flow: Flow, seed: int) -> torch.Generator:
    return generator(seed, "figure", device=any_tensor(flow).device)
