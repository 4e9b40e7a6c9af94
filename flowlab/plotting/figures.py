"""Figures as pure functions: arrays in, a matplotlib Figure out. Saving is `save_figure`'s business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.style import BLACK, BLUE, GREEN, GREY, VERMILION, styled

Bounds = Sequence[tuple[float, float]]

# Jang's red, green, blue and black, in the order x1 < 0 > x2, x1 > 0 > x2, x1 < 0 < x2, x1 > 0 < x2.
QUADRANT_COLOURS = (VERMILION, GREEN, BLUE, BLACK)


@styled
def scatter_pair(
    left: ArrayLike,
    right: ArrayLike,
    bounds: Bounds,
    titles: Sequence[str] = ("target", "samples of the flow"),
    columns: Sequence[str] = ("x1", "x2"),
) -> Figure:
    """Two sets of points on the same axes side by side: of shape (n, dim); the first two coordinates are drawn.

    Points of one coordinate are drawn as histograms.
    """
    left, right = np.asarray(left), np.asarray(right)
    figure = Figure(figsize=(7.5, 3.6))
    first, second = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, points, title, colour in ((first, left, titles[0], BLUE), (second, right, titles[1], VERMILION)):
        if points.shape[1] == 1:
            axes.hist(points[:, 0], bins=60, range=bounds[0], density=True, color=colour)
        else:
            _scatter(axes, points, bounds, colour)
        axes.set(title=f"{title} ({len(points):,} points)", xlabel=columns[0], xlim=bounds[0])
    first.set_ylabel("density" if left.shape[1] == 1 else columns[1])
    return figure


@styled
def density_pair(
    left: ArrayLike,
    right: ArrayLike,
    bounds: Bounds,
    titles: Sequence[str] = ("exact density", "density of the flow"),
    columns: Sequence[str] = ("x1", "x2"),
    right_columns: Sequence[str] | None = None,
) -> Figure:
    """Two densities on the same grid side by side, in one colour scale.

    Arguments:
        left, right: densities of shape (n, n): the first index runs along x1, the second along x2.
        bounds: the interval of each axis.
        titles: of the two panels.
        columns: names of the coordinates.
        right_columns: those of the right panel, where they have other names.
    """
    left, right = np.asarray(left), np.asarray(right)
    figure = Figure(figsize=(7.5, 3.4))
    space = {"right": 0.92, "wspace": 0.2 if right_columns else None}  # with room for the name at the right panel
    panels = figure.subplots(1, 2, sharex=True, sharey=True, gridspec_kw=space)
    highest = max(left.max(), right[np.isfinite(right)].max())
    names = (columns, right_columns or columns)
    for axes, density, title, (across, _) in zip(panels, (left, right), titles, names, strict=True):
        mesh = _mesh(axes, density, bounds, highest)
        axes.set(title=title, xlabel=across)
    panels[0].set_ylabel(columns[1])
    if right_columns:
        panels[1].set_ylabel(right_columns[1])
    figure.colorbar(mesh, ax=panels, label="density", pad=0.02, fraction=0.05)
    return figure


@styled
def samples_and_densities(
    samples: Sequence[ArrayLike],
    densities: Sequence[ArrayLike],
    bounds: Bounds,
    titles: Sequence[str] = ("target", "flow"),
    columns: Sequence[str] = ("x1", "x2"),
) -> Figure:
    """A flow beside its target: samples of both in the upper row, both densities in one colour scale below.

    Arguments:
        samples: of the target and of the flow, each of shape (n, 2).
        densities: of the target and of the flow, each of shape (n, n): the first index runs along x1.
        bounds: the interval of each axis.
        titles: of the two columns.
        columns: names of the coordinates.

    Example:
        >>> from flowlab.plotting import samples_and_densities
        >>> points, density = [[0.2, 0.4], [0.5, 0.5]], [[0.0, 1.0], [1.0, 2.0]]
        >>> figure = samples_and_densities([points] * 2, [density] * 2, ((0, 1), (0, 1)))
        >>> [axes.get_title(loc="left") for axes in figure.axes[:2]]
        ['target (2 points)', 'flow (2 points)']
    """
    known, learned = (np.asarray(density, dtype=float) for density in densities)
    highest = max(known.max(), learned[np.isfinite(learned)].max())
    figure = Figure(figsize=(7.5, 6.4))
    margins = {"right": 0.9, "bottom": 0.08, "top": 0.95, "hspace": 0.22}
    panels = figure.subplots(2, 2, sharex=True, sharey=True, gridspec_kw=margins)
    for axes, points, title, colour in zip(panels[0], samples, titles, (BLUE, VERMILION), strict=True):
        points = np.asarray(points)
        _scatter(axes, points, bounds, colour)
        axes.set(title=f"{title} ({len(points):,} points)", xlim=bounds[0])
    for axes, density, title in zip(panels[1], (known, learned), titles, strict=True):
        mesh = _mesh(axes, density, bounds, highest)
        axes.set(title=f"density of the {title}", xlabel=columns[0])
    for axes in panels[:, 0]:
        axes.set_ylabel(columns[1])
    place = panels[1, 1].get_position()
    figure.colorbar(mesh, cax=figure.add_axes((0.92, place.y0, 0.016, place.height)), label="density")
    return figure


@styled
def deformation(layers: Sequence[ArrayLike], names: Sequence[str], columns: int = 6) -> Figure:
    """How a flow bends space: the same points after each layer, in the colour of the quadrant where they started.

    Arguments:
        layers: the base samples and their images after each bijector, each of shape (n, 2) or more coordinates.
        names: a title for each panel.
        columns: panels in a row.
    """
    points = [np.asarray(layer)[:, :2] for layer in layers]
    start = points[0]
    quadrant = (start[:, 0] > 0) + 2 * (start[:, 1] > 0)
    colours = np.asarray(QUADRANT_COLOURS)[quadrant]
    columns = min(columns, len(points))
    rows = -(-len(points) // columns)
    figure = Figure(figsize=(1.75 * columns, 1.9 * rows))
    margins = {
        "left": 0.03,
        "right": 0.995,
        "bottom": 0.14 / rows,
        "top": 1 - 0.14 / rows,
        "wspace": 0.25,
        "hspace": 0.3,
    }
    panels = np.atleast_1d(figure.subplots(rows, columns, gridspec_kw=margins)).ravel()
    for axes, layer, name in zip(panels, points, names, strict=False):
        axes.scatter(layer[:, 0], layer[:, 1], s=3, c=colours, linewidths=0, rasterized=True)
        axes.set_title(name, fontsize=7.5)
        axes.tick_params(labelsize=6, length=2)
        axes.locator_params(nbins=4)
        _frame(axes, layer)
    for axes in panels[len(points) :]:
        axes.set_axis_off()
    return figure


@styled
def loss_curve(
    steps: ArrayLike,
    loss: ArrayLike,
    held_out_steps: ArrayLike = (),
    held_out: ArrayLike = (),
    entropy: float | None = None,
    label: str = "training loss",
    points: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> Figure:
    """The loss by step, held-out NLL on it, and the entropy of the target, below which no NLL can stay.

    With points of other runs, which may be much longer, the axis of steps is logarithmic; and it is the curve that
    sets the height of the figure: a point above it is a triangle at the upper edge with its loss beside it.

    Arguments:
        steps, loss: the training curve, in nats.
        held_out_steps, held_out: held-out NLL in nats.
        entropy: of the target in nats; None draws no line.
        points: steps and losses of other runs, in nats, by the name that the legend gives them.
    """
    steps, loss, held_out = np.asarray(steps), np.asarray(loss, dtype=float), np.asarray(held_out, dtype=float)
    figure = Figure(figsize=(6.5, 3.4))
    axes = figure.subplots()
    axes.plot(steps, loss, color=BLUE, label=label, zorder=2)
    if len(held_out):
        axes.plot(held_out_steps, held_out, "o", ms=3.5, color=VERMILION, label="held-out NLL", zorder=3)
    if entropy is not None:
        axes.axhline(entropy, color=GREY, ls="--", lw=1, label=f"entropy of the target, {entropy:.4f} nats", zorder=1)
    finite = loss[np.isfinite(loss)]
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
        axes.set_yscale("log")
    for number, (name, (x, y)) in enumerate((points or {}).items()):
        _points_below(axes, np.asarray(x), np.asarray(y), finite.max(), (BLACK, GREEN)[number % 2], name)
    axes.set(xlabel="optimizer step", ylabel="nats")
    axes.legend(loc="best")
    return figure


def _scatter(axes: Axes, points: np.ndarray, bounds: Bounds, colour: str) -> None:
    few = len(points) < 500
    look: dict[str, Any] = {"s": 12, "alpha": 0.7} if few else {"s": 4, "alpha": 0.35}
    axes.scatter(points[:, 0], points[:, 1], linewidths=0, color=colour, rasterized=True, **look)
    axes.set_ylim(bounds[1])


def _mesh(axes: Axes, density: np.ndarray, bounds: Bounds, highest: float) -> QuadMesh:
    x1, x2 = (np.linspace(low, high, size) for (low, high), size in zip(bounds, density.shape, strict=True))
    return axes.pcolormesh(x1, x2, density.T, vmin=0, vmax=highest, shading="nearest", rasterized=True)


def _points_below(axes: Axes, x: np.ndarray, y: np.ndarray, highest: float, colour: str, name: str) -> None:
    """Points on a logarithmic axis of steps; those above the highest value of the curve at the upper edge."""
    inside = y <= highest
    axes.plot(x[inside], y[inside], "s", ms=4, color=colour, label=name, zorder=3)
    axes.set_xscale("log")
    axes.set_ylim(top=highest)
    axes.plot(x[~inside], np.full((~inside).sum(), highest), "^", ms=5, color=colour, clip_on=False, zorder=3)
    for step, value in zip(x[~inside], y[~inside], strict=True):
        axes.annotate(f"{value:g}", (step, highest), xytext=(5, -2), textcoords="offset points", fontsize=8)


def _frame(axes: Axes, points: np.ndarray) -> None:
    """Limits around nearly all points, so that one far point does not shrink the rest to a dot."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    margin = 0.12 * np.maximum(high - low, 1e-6)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    if points.shape[1] > 1:
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
