"""The lake between an agent and its house, and the waypoints of policies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLACK, BLUE, VERMILION, Bounds, styled

WATER = "#CFE6F5"


@styled
def lake_policies(
    waypoints: Sequence[ArrayLike],
    titles: Sequence[str],
    radius: float,
    agent: tuple[float, float],
    house: tuple[float, float],
    bounds: Bounds,
) -> Figure:
    """Draw the waypoints of each policy and a round lake at the origin; waypoints in the water are crosses.

    Arguments:
        waypoints: for each policy an array of shape (n, 2).
        titles: a title for each panel.
        radius: the lake's radius, in the unit of the waypoints.
        agent, house: their positions.
        bounds: the interval of each axis.

    Raises:
        ValueError: there is no panel, or the lists differ in length.

    Example:
        >>> from lesson_figures import lake_policies
        >>> figure = lake_policies([[[0, 0], [2, 0]]], ["policy"], 1.0, (0, -2), (0, 2), ((-3, 3), (-3, 3)))
        >>> [len(points.get_offsets()) for points in figure.axes[0].collections]  # dry, wet
        [1, 1]
    """
    if not waypoints:
        raise ValueError("waypoints=[]: there is no policy to draw; give at least one")
    side, gap, left, bottom, head = 2.35, 0.12, 0.45, 0.42, 0.45  # in inches
    width = left + len(waypoints) * (side + gap)
    figure = Figure(figsize=(width, bottom + side + head))
    margins = {
        "left": left / width,
        "right": 1 - gap / width,
        "bottom": bottom / (bottom + side + head),
        "top": 1 - head / (bottom + side + head),
        "wspace": gap / side,
    }
    panels = figure.subplots(1, len(waypoints), sharex=True, sharey=True, squeeze=False, gridspec_kw=margins)[0]
    for axes, points, title in zip(panels, waypoints, titles, strict=True):
        axes.add_patch(Circle((0, 0), radius, facecolor=WATER, edgecolor=BLUE, lw=0.8, zorder=0))
        _draw_waypoints(axes, np.asarray(points, dtype=float), radius)
        _draw_place(axes, agent, "o", "agent")
        _draw_place(axes, house, "^", "house")
        axes.set_title(title, fontsize=9)
        axes.set(xlim=bounds[0], ylim=bounds[1], aspect="equal", xlabel="x1")
    panels[0].set_ylabel("x2", labelpad=0)
    return figure


def _draw_waypoints(axes: Axes, points: np.ndarray, radius: float) -> None:
    inside = np.linalg.norm(points, axis=1) < radius
    dry, wet = points[~inside], points[inside]
    axes.scatter(dry[:, 0], dry[:, 1], s=5, color=BLUE, alpha=0.5, linewidths=0, rasterized=True)
    axes.scatter(wet[:, 0], wet[:, 1], s=11, color=VERMILION, marker="x", linewidths=0.8, rasterized=True)


def _draw_place(axes: Axes, place: tuple[float, float], marker: str, name: str) -> None:
    axes.plot(*place, marker, color=BLACK, ms=7)
    axes.annotate(name, place, xytext=(7, 0), textcoords="offset points", va="center", fontsize=8)
