"""The figures of a run, and the arrays that they draw: samples of the flow, densities on a grid, and the frame."""

from __future__ import annotations

import math

import pandas
import torch
from matplotlib.figure import Figure
from torch import Tensor

from flowlab.bijectors.compose import method_of_parts, stages
from flowlab.flow import Flow
from flowlab.plotting.figures import deformation, density_pair, loss_curve, scatter_grid, scatter_pair
from flowlab.seeding import generator, pick
from flowlab.targets.base import Batch, Bounds, ExactTarget, Target

GRID = 160  # grid points along an axis
POINTS = 4000
GRID_POINTS = 1000  # in a grid of scatter plots
NO_DENSITY = "the figure density shows points with two columns alone: choose them with target.columns"


def run_figures(
    flow: Flow, target: Target, metrics: pandas.DataFrame, seed: int, loss_label: str = "training loss"
) -> dict[str, Figure]:
    """Return a run's figures by name; leave out those that do not fit the shape of the target's points.

    `loss` fits every run, `samples` scalars and vectors, as many as there are test points: a conditional flow is
    sampled at their contexts. The others need an unconditional target: `layers` of vectors with at least two
    coordinates, `density` of vectors with exactly two.

    Arguments:
        flow: the trained flow.
        target: the target that the flow was trained on.
        metrics: a row for each logged step, with the columns step, loss and nll.
        seed: the run's seed.
        loss_label: the training curve's name in the legend.
    """
    points = _test_points(target, seed) if target.has_points else None
    event, context = tuple(target.event_shape), None if points is None else points.context
    columns, bounds = plain_columns(target), find_bounds(target, flow, seed)
    figures: dict[str, Figure] = {}
    if len(event) <= 1:
        if context is None:
            samples = flow_samples(flow, POINTS if points is None else len(points.x), seed)
        else:
            samples = draw_samples(flow, (), context.to(flow.anchor), seed)
        right = samples.reshape(len(samples), -1)  # a scalar is one coordinate
        left = None if points is None else points.x.reshape(len(points.x), -1)
        if right.shape[1] <= 2:
            figures["samples"] = scatter_pair(left, right, bounds, columns=columns)
        else:
            left = None if left is None else left[:GRID_POINTS]
            note = NO_DENSITY if target.has_points else ""
            figures["samples"] = scatter_grid(left, right[:GRID_POINTS], bounds, columns=columns, note=note)
    if context is None and event == (2,):
        like = flow.anchor
        known, title = target_density(target, seed, like, bounds=bounds)
        learned = grid_density(flow, bounds, like)
        titles = (title, "density of the flow")
        figures["density"] = density_pair(known, learned, bounds, titles, columns)
    if context is None and len(event) == 1 and event[0] > 1:
        figures["layers"] = deformation(*layer_samples(flow, seed))
    measured, label = ("nll", "held-out NLL") if target.has_points else ("elbo", "-ELBO of held-out noise")
    held_out = metrics.dropna(subset=measured)
    values = held_out[measured] if target.has_points else -held_out[measured]
    figures["loss"] = loss_curve(
        metrics["step"], metrics["loss"], held_out["step"], values, target.entropy, loss_label, label
    )
    return figures


def _test_points(target: Target, seed: int) -> Batch:
    """Test points that a figure shows, on the CPU; weighted ones are drawn by their weights."""
    points, weights = target.batch("test", POINTS, seed), target.row_weights("test")
    if weights is not None:
        points = Batch(points.x[pick(weights, len(points.x), generator(seed, "figure rows"))])
    return Batch(*(tensor[:POINTS] for tensor in points.tensors())).to("cpu")


@torch.no_grad()
def layer_samples(flow: Flow, seed: int, count: int = 512) -> tuple[list[Tensor], list[str]]:
    """Return samples of the base and their images after each bijector, in the order applied; and a title for each."""
    value = flow.base.rsample((count,), figure_generator(flow, seed))
    layers, names = [value.cpu()], ["base"]
    method = method_of_parts("forward")
    for number, stage in enumerate(stages(flow.bijector), start=1):
        value = getattr(stage, method)(value)
        layers.append(value.cpu())
        names.append(f"{number} {type(stage).__name__}")
    return layers, names


def plain_columns(target: Target) -> list[str]:
    """Return a target's column names for matplotlib, which would take a dollar for the start of a formula."""
    return [name.replace("$", r"\$") for name in target.columns]


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


@torch.no_grad()
def draw_samples(flow: Flow, shape: tuple[int, ...], context: Tensor | None, seed: int) -> Tensor:
    return flow.rsample(shape, context, figure_generator(flow, seed)).cpu()


def figure_generator(flow: Flow, seed: int) -> torch.Generator:
    return generator(seed, "figure", device=flow.anchor.device)
