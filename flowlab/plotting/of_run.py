"""The figures that every run leaves: what a flow and its target have to show, as arrays for the figure functions."""

from __future__ import annotations

import pandas
import torch
from matplotlib.figure import Figure
from torch import Tensor

from flowlab.bijectors import stages
from flowlab.flow import Flow
from flowlab.plotting.figures import deformation, density_pair, loss_curve, scatter_pair
from flowlab.seeding import generator
from flowlab.targets.base import Bounds, ExactTarget, Target

GRID = 160
POINTS = 4000


def run_figures(
    flow: Flow, target: Target, metrics: pandas.DataFrame, seed: int, loss: str = "training loss"
) -> dict[str, Figure]:
    """By name: samples, layers, loss and, in two dimensions, density."""
    columns = [name.replace("$", r"\$") for name in target.columns]  # a dollar would begin a formula
    points = target.rows("test", POINTS, seed)[:POINTS]
    samples = flow_samples(flow, max(len(points), 1000), seed)
    figures = {"samples": scatter_pair(points.cpu(), samples, target.bounds, columns=columns)}
    if target.dim == 2:
        parameter = next(flow.parameters())
        known, title = target_density(target, seed, parameter)
        learned = grid_density(flow, target.bounds, parameter)
        titles = (title, "density of the flow")
        figures["density"] = density_pair(known, learned, target.bounds, titles, columns)
    if target.dim >= 2:
        figures["layers"] = deformation(*layer_samples(flow, seed))
    held_out = metrics.dropna(subset="nll")
    figures["loss"] = loss_curve(
        metrics["step"], metrics["loss"], held_out["step"], held_out["nll"], target.entropy, loss
    )
    return figures


@torch.no_grad()
def flow_samples(flow: Flow, count: int, seed: int) -> Tensor:
    """Samples of a flow for a figure, of shape (count, dim)."""
    return flow.bijector.forward(_base_samples(flow, count, seed)).cpu()


@torch.no_grad()
def layer_samples(flow: Flow, seed: int, count: int = 512) -> tuple[list[Tensor], list[str]]:
    """The same samples of the base, then after each bijector in the order applied; and a title for each."""
    value = _base_samples(flow, count, seed)
    layers, names = [value.cpu()], ["base"]
    for number, stage in enumerate(stages(flow.bijector), start=1):
        value = stage.forward(value)
        layers.append(value.cpu())
        names.append(f"{number} {type(stage).__name__}")
    return layers, names


@torch.no_grad()
def grid_density(density: Flow | ExactTarget, bounds: Bounds, like: Tensor, size: int = GRID) -> Tensor:
    """A density on a grid, of shape (size, size), x1 along the first index; `like` gives dtype and device."""
    axes = [torch.linspace(low, high, size, dtype=like.dtype, device=like.device) for low, high in bounds]
    return density.log_prob(torch.cartesian_prod(*axes)).exp().reshape(size, size).cpu()


def target_density(target: Target, seed: int, like: Tensor, size: int = GRID) -> tuple[Tensor, str]:
    """What is known of a target's density, on a grid as `grid_density` gives it, and what to call it."""
    if isinstance(target, ExactTarget):
        return grid_density(target, target.bounds, like, size), "exact density"
    points = target.rows("train", 0, seed, torch.float64).cpu()
    bins = max(8, min(size, int(len(points) ** 0.5)))
    ends = [end for interval in target.bounds for end in interval]
    counts, _ = torch.histogramdd(points, [bins, bins], range=ends, density=True)
    # Each bin is drawn as many cells of the grid.
    return torch.nn.functional.interpolate(counts[None, None], size=(size, size)).squeeze(), "histogram of the data"


def _base_samples(flow: Flow, count: int, seed: int) -> Tensor:
    return flow.base.rsample((count,), generator(seed, "figure", device=next(flow.parameters()).device))
