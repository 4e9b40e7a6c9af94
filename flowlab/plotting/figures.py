"""The style of all figures, and the figures of one run as pure functions: arrays in, a matplotlib Figure out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from flowlab.system.files import write_bytes

Bounds = Sequence[tuple[float, float]]  # the interval of each axis

STYLE = Path(__file__).with_name("flowlab.mplstyle")

# The colours of Okabe and Ito, which colour-blind readers can distinguish.
BLUE, VERMILION, GREEN, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#000000", "#777777"
# Jang's red, green, blue and black, in the order x1 < 0 > x2, x1 > 0 > x2, x1 < 0 < x2, x1 > 0 < x2.
QUADRANT_COLOURS = (VERMILION, GREEN, BLUE, BLACK)
DENSITY_COLOURS = "Blues"  # light to dark on white, so the tails stay visible and the contours readable
CONTOURS = (0.05, 0.25, 0.75)  # shares of the largest density
GRID_COLUMNS = 6  # coordinates in a grid of scatter plots
styled = matplotlib.style.context(STYLE)  # decorates a figure function; the caller's style does not change


@styled
def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; equal figures give equal bytes."""
    png = io.BytesIO()
    # Level 3 compresses nearly as well as the default, 6, in half the time.
    figure.savefig(png, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    write_bytes(path, png.getvalue())


def format_log_axis(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis by plain numbers, or by powers of ten far from 1, with more ticks if decades are few."""
    between = (1,) if high > 300 * low else (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 7)
    axis.set_major_locator(LogLocator(subs=between))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(LogFormatterMathtext() if high > 1e6 or low < 1e-4 else plain)
    axis.set_minor_formatter(NullFormatter())


def draw_points(axes: Axes, points: np.ndarray, colour: str, first: int = 0, second: int = 1) -> None:
    """Scatter two coordinates of points of shape (n, dim)."""
    look: dict[str, Any] = {"s": 12, "alpha": 0.7} if len(points) < 500 else {"s": 4, "alpha": 0.35}
    axes.scatter(points[:, first], points[:, second], linewidths=0, color=colour, rasterized=True, **look)


def draw_histogram(axes: Axes, numbers: np.ndarray, bins: int, interval: tuple[float, float], **style: Any) -> None:
    """Draw the density of numbers inside an interval, which may hold none of them."""
    share = bins / (max(len(numbers), 1) * (interval[1] - interval[0]))
    axes.hist(numbers, bins, range=interval, weights=np.full(len(numbers), share), **style)


def draw_density(axes: Axes, density: ArrayLike, bounds: Bounds, highest: float | None = None) -> QuadMesh:
    """Draw a density of shape (n, n) as a heat map from 0 to `highest`; None is its own maximum."""
    density = np.asarray(density, dtype=float)
    x1, x2 = (np.linspace(low, high, size) for (low, high), size in zip(bounds, density.shape, strict=True))
    look: dict[str, Any] = {"cmap": DENSITY_COLOURS, "shading": "nearest", "rasterized": True}
    return axes.pcolormesh(x1, x2, density.T, vmin=0, vmax=highest, **look)


def draw_contours(axes: Axes, density: ArrayLike, bounds: Bounds, highest: float, colour: str = BLACK) -> None:
    """Draw the contours of a density of shape (n, n) at fixed shares of `highest`."""
    values = np.ma.masked_invalid(np.asarray(density, dtype=float))
    levels = [share * highest for share in CONTOURS]
    if any(values.min() < level < values.max() for level in levels):  # otherwise matplotlib warns
        grid = (np.linspace(low, high, size) for (low, high), size in zip(bounds, values.shape, strict=True))
        axes.contour(*grid, values.T, levels=levels, colors=colour, linewidths=0.4)


def find_maximum(density: ArrayLike) -> float:
    """Return the largest finite value."""
    values = np.asarray(density, dtype=float)
    return float(values[np.isfinite(values)].max(initial=0.0))


@styled
def scatter_pair(
    left: ArrayLike | None,
    right: ArrayLike,
    bounds: Bounds,
    titles: Sequence[str] = ("target", "samples of the flow"),
    columns: Sequence[str] = ("x1", "x2"),
) -> Figure:
    """Draw the first two coordinates of two sets of points on equal axes; draw points of one coordinate as histograms.

    Arguments:
        left, right: points of shape (n, dim); without left ones the figure has one panel.
        bounds: the interval of each axis.
        titles: a title for each panel; the number of points follows it.
        columns: a name for each coordinate.
    """
    sets = [(np.asarray(right), titles[1], VERMILION)]
    if left is not None:
        sets.insert(0, (np.asarray(left), titles[0], BLUE))
    figure = Figure(figsize=(3.75 * len(sets), 3.6))
    panels = figure.subplots(1, len(sets), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (points, title, colour) in zip(panels, sets, strict=True):
        if points.shape[1] == 1:
            draw_histogram(axes, points[:, 0], 60, bounds[0], color=colour)
        else:
            draw_points(axes, points, colour)
            axes.set_ylim(bounds[1])
        axes.set(title=f"{title} ({len(points):,} points)", xlabel=columns[0], xlim=bounds[0])
    panels[0].set_ylabel("density" if points.shape[1] == 1 else columns[1])
    return figure


@styled
def scatter_grid(
    left: ArrayLike | None,
    right: ArrayLike,
    bounds: Bounds,
    titles: Sequence[str] = ("target", "samples of the flow"),
    columns: Sequence[str] = ("x1", "x2", "x3"),
    note: str = "",
) -> Figure:
    """Draw two sets of points for every pair of coordinates: one below and one above a diagonal of both densities.

    Arguments:
        left: points of shape (n, dim), drawn below the diagonal; None draws the right ones there too.
        right: points of shape (m, dim), drawn above it.
        bounds, columns: an interval and a name for each coordinate; the first GRID_COLUMNS coordinates are drawn.
        titles: names of the two sets; the number of points follows them.
        note: is added to the title.
    """
    right = np.asarray(right)
    below = right if left is None else np.asarray(left)
    size = min(right.shape[1], GRID_COLUMNS)
    figure = Figure(figsize=(1.6 * size + 0.8, 1.6 * size + 1.1))
    space = {"left": 0.09, "right": 0.98, "bottom": 0.07, "top": 0.92, "wspace": 0.08, "hspace": 0.08}
    for (row, column), axes in np.ndenumerate(figure.subplots(size, size, sharex="col", gridspec_kw=space)):
        if row == column:
            for points, colour in ((below, VERMILION if left is None else BLUE), (right, VERMILION)):
                draw_histogram(axes, points[:, row], 40, bounds[row], histtype="step", color=colour)
            axes.set_yticks([])
        else:
            is_left = row > column and left is not None
            draw_points(axes, *((below, BLUE) if is_left else (right, VERMILION)), column, row)
            axes.set_ylim(bounds[row])
            axes.tick_params(labelleft=column == 0)
        axes.set_xlim(bounds[column])
        axes.tick_params(labelsize=6, length=2)
        axes.locator_params(nbins=4, axis="x")
        if column == 0:
            axes.set_ylabel(columns[row], fontsize=7)
        if row == size - 1:
            axes.set_xlabel(columns[column], fontsize=7)
    drawn = "" if size == right.shape[1] else f"; the first {size} of {right.shape[1]} columns"
    first, second = (f"{title} ({len(points):,} points)" for title, points in zip(titles, (below, right), strict=True))
    sides = second if left is None else f"below the diagonal: {first}; above: {second}"
    figure.suptitle(f"{sides}{drawn}{note and f'{chr(10)}{note}'}", fontsize=7.5)
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
    """Draw two densities on equal axes with one colour scale, and contours at 5%, 25% and 75% of its end.

    Arguments:
        left, right: densities of shape (n, n); the first index runs along x1, the second along x2.
        bounds: the interval of each axis.
        titles: a title for each panel.
        columns: a name for each coordinate.
        right_columns: names for the right panel; None repeats `columns`.
    """
    figure = Figure(figsize=(7.5, 3.4))
    space = {"right": 0.92, "wspace": 0.2 if right_columns else None}  # with room for the right panel's label
    panels = figure.subplots(1, 2, sharex=True, sharey=True, gridspec_kw=space)
    highest = max(find_maximum(left), find_maximum(right))
    for axes, density, title, names in zip(
        panels, (left, right), titles, (columns, right_columns or columns), strict=True
    ):
        mesh = draw_density(axes, density, bounds, highest)
        draw_contours(axes, density, bounds, highest)
        axes.set(title=title, xlabel=names[0])
    panels[0].set_ylabel(columns[1])
    if right_columns:
        panels[1].set_ylabel(right_columns[1])
    figure.colorbar(mesh, ax=panels, label="density", pad=0.02, fraction=0.05)
    return figure


@styled
def deformation(layers: Sequence[ArrayLike], names: Sequence[str], columns: int = 6) -> Figure:
    """Draw the same points after each layer of a flow, in the colour of the quadrant where they started.

    Arguments:
        layers: the base's samples and their images after each bijector, each of shape (n, dim), dim at least 2.
        names: a title for each panel.
        columns: panels in a row.
    """
    points = [np.asarray(layer)[:, :2] for layer in layers]
    colours = np.asarray(QUADRANT_COLOURS)[(points[0][:, 0] > 0) + 2 * (points[0][:, 1] > 0)]
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
        _set_limits(axes, layer)
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
    held_out_label: str = "held-out NLL",
) -> Figure:
    """Draw the loss by step, the held-out NLL, and the target's entropy, which bounds every expected NLL from below.

    Arguments:
        steps, loss: the training curve, in nats.
        held_out_steps, held_out: the held-out NLL, in nats.
        entropy: the target's entropy in nats; None draws no line.
        label, held_out_label: the names of both curves in the legend.
    """
    steps, loss, held_out = np.asarray(steps), np.asarray(loss, dtype=float), np.asarray(held_out, dtype=float)
    figure = Figure(figsize=(6.5, 3.4))
    axes = figure.subplots()
    axes.plot(steps, loss, color=BLUE, label=label, zorder=2)
    if len(held_out):
        axes.plot(held_out_steps, held_out, "o", ms=3.5, color=VERMILION, label=held_out_label, zorder=3)
    if entropy is not None:
        axes.axhline(entropy, color=GREY, ls="--", lw=1, label=f"entropy of the target, {entropy:.4f} nats", zorder=1)
    finite = loss[np.isfinite(loss)]
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
        axes.set_yscale("log")
    axes.set(xlabel="optimizer step", ylabel="nats")
    axes.legend(loc="best")
    return figure


def _set_limits(axes: Axes, points: np.ndarray) -> None:
    """Set limits around 99% of the points, so one far point does not shrink the rest to a dot."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points):
        low, high = np.quantile(points, [0.005, 0.995], axis=0)
        margin = 0.12 * np.maximum(high - low, 1e-6)
        axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
