"""Small multiples: the densities of many flows side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.axes import Bounds, draw_density, find_maximum
from flowlab.plotting.runs import any_tensor, grid_density, plain_columns, target_density
from flowlab.plotting.style import styled

if TYPE_CHECKING:
    from flowlab.runs.directory import Run

PANEL = 120  # grid points along an axis of a panel, which is small


@styled
def density_panels(
    densities: Sequence[ArrayLike],
    titles: Sequence[str],
    bounds: Sequence[Bounds],
    targets: Sequence[str] | None = None,
    columns: Sequence[str] = ("x1", "x2"),
    per_row: int = 6,
) -> Figure:
    """Draw a panel for each density; the panels of one target share a colour scale and begin a row.

    A target's scale ends at the maximum of its first panel. Put the exact density first: then a flow with a spike does
    not darken the others.

    Arguments:
        densities: each of shape (n, n); the first index runs along x1, the second along x2.
        titles: a title for each panel; long ones are wrapped.
        bounds: for each panel the interval of each axis.
        targets: for each panel its target's name; None if all panels have the same target.
        columns: a name for each coordinate.
        per_row: the largest number of panels in a row.

    Raises:
        ValueError: there is no density, or the lists differ in length.

    Example:
        >>> from flowlab.plotting import density_panels
        >>> figure = density_panels([[[0, 1], [1, 0]]] * 3, ["exact", "depth 2", "depth 4"], [((0, 1), (0, 1))] * 3)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['exact', 'depth 2', 'depth 4']
    """
    titles = [textwrap.fill(title, 25) for title in titles]
    by_target: dict[str, list[Any]] = {}
    for *panel, target in zip(densities, titles, bounds, targets or [""] * len(densities), strict=True):
        by_target.setdefault(target, []).append(panel)
    if not by_target:
        raise ValueError("densities=[]: there is no density to draw; give at least one")
    longest = max(map(len, by_target.values()))
    per_row = -(-longest // -(-longest // per_row))  # no more rows than needed, and equally full ones
    rows = [panels[at : at + per_row] for panels in by_target.values() for at in range(0, len(panels), per_row)]
    scales = [
        find_maximum(panels[0][0]) or 1.0 for panels in by_target.values() for _ in range(0, len(panels), per_row)
    ]
    figure, grid = _build_grid(len(rows), per_row, lines=1 + max(title.count("\n") for title in titles))
    for (row, column), place in np.ndenumerate(grid):
        if column >= len(rows[row]):
            continue
        density, title, intervals = rows[row][column]
        axes = figure.add_subplot(place)
        draw_density(axes, density, intervals, scales[row])
        axes.set_title(title, fontsize=7.5)
        axes.tick_params(labelsize=6, length=2, labelleft=column == 0)
        axes.locator_params(nbins=4)
        if column == 0:
            axes.set_ylabel(columns[1], fontsize=6.5, labelpad=1)
        if row == len(rows) - 1:
            axes.set_xlabel(columns[0], fontsize=6.5, labelpad=1)
    return figure


def run_densities(runs: Sequence[Run], titles: Sequence[str]) -> dict[str, Any]:
    """Return arguments of `density_panels` for runs in two dimensions: each target's density, then its flows'.

    Runs on conditional targets, and on targets of other event shapes, are left out.

    Arguments:
        runs: trained runs, from `flowlab.load_run`.
        titles: a title for each run.

    Raises:
        ConfigError: a run has no checkpoint, or its data file is gone.
    """
    panels: dict[str, list[Any]] = {"densities": [], "titles": [], "bounds": [], "targets": []}
    columns: list[list[str]] = []
    by_target: dict[str, list[tuple[Run, str]]] = {}
    for run, title in zip(runs, titles, strict=True):
        if tuple(run.target.event_shape) == (2,) and run.target.context_shape is None:
            by_target.setdefault(str(run.config.target), []).append((run, title))
    for target, trained in by_target.items():
        first = trained[0][0]
        columns.append(plain_columns(first.target))
        known, name = target_density(first.target, first.config.seed, any_tensor(first.flow), PANEL)
        learned = [grid_density(run.flow, run.target.bounds, any_tensor(run.flow), PANEL) for run, _ in trained]
        panels["densities"] += [known, *learned]
        prefix = f"{first.config.target.name}, " if len(by_target) > 1 else ""
        panels["titles"] += [prefix + name, *(title for _, title in trained)]
        panels["bounds"] += [first.target.bounds] * (len(trained) + 1)
        panels["targets"] += [target] * (len(trained) + 1)
    same = bool(columns) and all(names == columns[0] for names in columns)
    return panels | ({"columns": columns[0]} if same else {})


def _build_grid(rows: int, columns: int, lines: int) -> tuple[Figure, np.ndarray]:
    """Return a figure, and places of shape (rows, columns) for square panels below titles of some lines."""
    side, head, left, bottom = 1.4, 0.12 + 0.13 * lines, 0.4, 0.36  # in inches
    width = left + columns * (side + 0.22)
    height = bottom + rows * (side + head) + (rows - 1) * 0.18
    figure = Figure(figsize=(width, height))
    grid = figure.add_gridspec(
        rows,
        columns,
        left=left / width,
        right=1 - 0.22 / width,
        bottom=bottom / height,
        top=1 - head / height,
        wspace=0.22 / side,
        hspace=(head + 0.18) / side,
    )
    return figure, np.array([[grid[row, column] for column in range(columns)] for row in range(rows)], dtype=object)
