"""Importance weights and rejection sampling with another density as the proposal."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, BLUE, GREY, VERMILION, Bounds, styled


@styled
def importance_weights(
    positions: ArrayLike,
    log_ratios: Mapping[str, ArrayLike],
    weights: ArrayLike,
    bound: float,
    xlabel: str = "x2 along the ridge",
) -> Figure:
    """Draw log p / q of proposals along a line; beside it the weights p / q at samples of one, and their bound.

    The vertical axis on the left ends at three times the log of the bound; curves may leave it.

    Arguments:
        positions: positions along the line, of shape (n,).
        log_ratios: log p / q at these positions in nats, of shape (n,), by the name of the proposal; at most three.
        weights: p / q at samples of the proposal, of shape (m,).
        bound: a positive bound that no weight exceeds.
        xlabel: the label of the positions.

    Raises:
        ValueError: a weight exceeds the bound.

    Example:
        >>> from lesson_figures import importance_weights
        >>> figure = importance_weights([0, 1, 2], {"flow": [0, 1, 9]}, [0.5, 1.0, 1.5], bound=2.0)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['log weight, log p / q', 'weights of 3 samples']
    """
    weights = np.asarray(weights, dtype=float)
    if weights.max() > bound:
        raise ValueError(f"bound={bound:g}: must be at least the largest weight, {weights.max():g}")
    figure = Figure(figsize=(7.8, 3.3))
    left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.07, "bottom": 0.14, "wspace": 0.22})
    for (name, values), colour in zip(log_ratios.items(), (VERMILION, BLUE, BLACK), strict=False):
        left.plot(positions, np.asarray(values), color=colour, label=name)
    left.axhline(math.log(bound), color=GREY, ls="--", lw=1, label=f"log {bound:.1f}, the bound")
    height = 3 * max(1.0, math.log(bound))
    left.set(title="log weight, log p / q", xlabel=xlabel, ylabel="nats", ylim=(-height, height))
    left.legend(loc="lower center")
    right.hist(weights, bins=60, range=(0, bound), color=BLUE)
    right.axvline(bound, color=GREY, ls="--", lw=1, label=f"{bound:.1f}, the bound")
    title = f"weights of {_spaced(len(weights))} samples"
    right.set(title=title, xlabel="weight", ylabel="number of samples", yscale="log")
    right.legend(loc="upper center")
    right.set_ylim(bottom=0.5)
    return figure


@styled
def rejection(
    points: ArrayLike, accepted: ArrayLike, density: ArrayLike, bounds: Bounds, columns: tuple[str, str] = ("x1", "x2")
) -> Figure:
    """Draw the rejected and accepted proposals; beside them the accepted points with contours of the density.

    The contours lie at 1%, 10% and 50% of the density's maximum on the grid.

    Arguments:
        points: the proposals, of shape (n, 2).
        accepted: whether each proposal is accepted, of shape (n,).
        density: the target's density on a grid, of shape (m, m); the first index runs along x1.
        bounds: the interval of each axis.
        columns: a name for each coordinate.

    Example:
        >>> from lesson_figures import rejection
        >>> density = [[0.0, 1.0], [1.0, 2.0]]
        >>> figure = rejection([[0.1, 0.2], [0.3, 0.4]], [True, False], density, ((0, 1), (0, 1)))
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['1 of 2 proposals accepted', 'accepted, on the density of the target']
    """
    points, keep, density = np.asarray(points), np.asarray(accepted, dtype=bool), np.asarray(density, dtype=float)
    figure = Figure(figsize=(7.5, 3.6))
    left, right = figure.subplots(1, 2, sharex=True, sharey=True, gridspec_kw={"bottom": 0.14})
    for mask, colour, name in ((~keep, VERMILION, "rejected"), (keep, BLUE, "accepted")):
        x1, x2 = points[mask].T
        left.scatter(x1, x2, s=4, alpha=0.4, linewidths=0, color=colour, label=name, rasterized=True)
    x1, x2 = points[keep].T
    right.scatter(x1, x2, s=4, alpha=0.4, linewidths=0, color=BLUE, rasterized=True)
    grid = (np.linspace(low, high, size) for (low, high), size in zip(bounds, density.shape, strict=True))
    right.contour(*grid, density.T, levels=density.max() * np.array([0.01, 0.1, 0.5]), colors=BLACK, linewidths=0.7)
    left.set(title=f"{_spaced(keep.sum())} of {_spaced(len(keep))} proposals accepted", ylabel=columns[1])
    right.set(title="accepted, on the density of the target", xlim=bounds[0], ylim=bounds[1])
    for axes in (left, right):
        axes.set_xlabel(columns[0])
    legend = left.legend(loc="center right", markerscale=2, frameon=True, framealpha=1)  # it hides the points below it
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    return figure


def _spaced(number: int) -> str:
    """Return a number with spaces between thousands, as in the prose of the lessons."""
    return f"{number:,}".replace(",", " ")
