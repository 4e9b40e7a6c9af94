"""Parts of axes that several figures draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, NullFormatter
from numpy.typing import ArrayLike

Bounds = Sequence[tuple[float, float]]  # the interval of each axis


def format_log_axis(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis by plain numbers, or by powers of ten far from 1, with more ticks if decades are few."""
    between = (1,) if high > 300 * low else (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 7)
    axis.set_major_locator(LogLocator(subs=between))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(LogFormatterMathtext() if high > 1e6 or low < 1e-4 else plain)
    axis.set_minor_formatter(NullFormatter())


def draw_points(axes: Axes, points: np.ndarray, colour: str) -> None:
    """Scatter the first two coordinates of points of shape (n, dim)."""
    look: dict[str, Any] = {"s": 12, "alpha": 0.7} if len(points) < 500 else {"s": 4, "alpha": 0.35}
    axes.scatter(points[:, 0], points[:, 1], linewidths=0, color=colour, rasterized=True, **look)


def draw_density(axes: Axes, density: ArrayLike, bounds: Bounds, highest: float | None = None) -> QuadMesh:
    """Draw a density of shape (n, n) as a heat map from 0 to `highest`; None is its own maximum."""
    density = np.asarray(density, dtype=float)
    x1, x2 = (np.linspace(low, high, size) for (low, high), size in zip(bounds, density.shape, strict=True))
    return axes.pcolormesh(x1, x2, density.T, vmin=0, vmax=highest, shading="nearest", rasterized=True)


def find_maximum(density: ArrayLike) -> float:
    """Return the largest finite value."""
    values = np.asarray(density, dtype=float)
    return float(values[np.isfinite(values)].max(initial=0.0))
