"""The figures of a run, and the arrays of a flow and its target that they draw."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import pandas
import torch
from matplotlib.figure import Figure
from torch import Tensor

from flowlab.bijectors import stages
from flowlab.flow import Flow
from flowlab.plotting.figures import deformation, density_pair, loss_curve, scatter_pair
from flowlab.seeding import generator
from flowlab.targets.base import Batch, Bounds, ExactTarget, Target

GRID = 160
POINTS = 4000


def run_figures(
    flow: Flow, target: Target, metrics: pandas.DataFrame, seed: int, loss_label: str = "training loss"
) -> dict[str, Figure]:
    """Return a run's figures by name; leave out those that do not fit the shape of the target's points.

    `loss` fits every run, `samples` scalars and vectors: a conditional flow is sampled at the contexts of the test
    points. The others need an unconditional target: `layers` of vectors with at least two coordinates, `density` of
    vectors with exactly two.

    Arguments:
        flow: the trained flow.
        target: the target that the flow was trained on.
        metrics: a row for each logged step, with the columns step, loss and nll.
        seed: the run's seed.
        loss_label: the training curve's name in the legend.
    """
    points = Batch(*(tensor[:POINTS] for tensor in target.batch("test", POINTS, seed).tensors())).to("cpu")
    event, unconditional = points.x.shape[1:], points.context is None
    figures: dict[str, tuple[bool, Callable[[], Figure]]] = {  # name -> whether it fits, how to draw it
        "samples": (len(event) <= 1, lambda: _draw_samples(flow, target, points, seed)),
        "density": (unconditional and event == (2,), lambda: _draw_densities(flow, target, seed)),
        "layers": (unconditional and len(event) == 1 and event[0] > 1, lambda: deformation(*layer_samples(flow, seed))),
        "loss": (True, lambda: _draw_loss(target, metrics, loss_label)),
    }
    return {name: draw() for name, (fits, draw) in figures.items() if fits}


def flow_samples(flow: Flow, count: int, seed: int) -> Tensor:
    """Return samples of a flow, of shape (count, event); equal seeds give equal samples."""
    with torch.no_grad():
        return flow.rsample((count,), None, _figure_generator(flow, seed)).cpu()


@torch.no_grad()
def layer_samples(flow: Flow, seed: int, count: int = 512) -> tuple[list[Tensor], list[str]]:
    """Return samples of the base and their images after each bijector, in the order applied; and a title for each."""
    value = flow.base.rsample((count,), _figure_generator(flow, seed))
    layers, names = [value.cpu()], ["base"]
    for number, stage in enumerate(stages(flow.bijector), start=1):
        value = stage.forward(value)
        layers.append(value.cpu())
        names.append(f"{number} {type(stage).__name__}")
    return layers, names


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
    return density.log_prob(torch.cartesian_prod(*axes)).exp().reshape(size, size).cpu()


def target_density(target: Target, seed: int, like: Tensor, size: int = GRID) -> tuple[Tensor, str]:
    """Return a target's density on a grid and its title: the exact density, or else a histogram of the training data.

    Arguments:
        target: a target in two dimensions.
        seed: the run's seed.
        like: a tensor with the dtype and device to compute in.
        size: grid points along each axis.
    """
    if isinstance(target, ExactTarget):
        return grid_density(target, target.bounds, like, size), "exact density"
    points = target.rows("train", 0, seed, torch.float64).cpu()
    bins = max(8, min(size, int(len(points) ** 0.5)))
    ends = [end for interval in target.bounds for end in interval]
    counts, _ = torch.histogramdd(points, [bins, bins], range=ends, density=True)
    # A bin covers several grid points.
    return torch.nn.functional.interpolate(counts[None, None], size=(size, size)).squeeze(), "histogram of the data"


def any_tensor(flow: Flow) -> Tensor:
    """Return a parameter or buffer of a flow, which has the flow's dtype and device."""
    return next(chain(flow.parameters(), flow.buffers()))


def plain_columns(target: Target) -> list[str]:
    """Return a target's column names for matplotlib, which would take a dollar for the start of a formula."""
    return [name.replace("$", r"\$") for name in target.columns]


def _draw_samples(flow: Flow, target: Target, points: Batch, seed: int) -> Figure:
    if points.context is None:
        samples = flow_samples(flow, max(len(points.x), 1000), seed)
    else:
        with torch.no_grad():
            samples = flow.rsample((), points.context.to(flow.anchor), _figure_generator(flow, seed)).cpu()
    left, right = (each.reshape(len(each), -1) for each in (points.x, samples))  # a scalar is one coordinate
    return scatter_pair(left, right, target.bounds, columns=plain_columns(target))


def _draw_densities(flow: Flow, target: Target, seed: int) -> Figure:
    known, title = target_density(target, seed, any_tensor(flow))
    learned = grid_density(flow, target.bounds, any_tensor(flow))
    return density_pair(known, learned, target.bounds, (title, "density of the flow"), plain_columns(target))


def _draw_loss(target: Target, metrics: pandas.DataFrame, label: str) -> Figure:
    held_out = metrics.dropna(subset="nll")
    return loss_curve(metrics["step"], metrics["loss"], held_out["step"], held_out["nll"], target.entropy, label)


def _figure_generator(flow: Flow, seed: int) -> torch.Generator:
    return generator(seed, "figure", device=any_tensor(flow).device)
