"""Small multiples: the densities of many flows side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import Bounds
from flowlab.plotting.of_run import grid_density, target_density
from flowlab.plotting.style import styled

if TYPE_CHECKING:
    from flowlab.runs.directory import Run

PANEL = 120  # points of the grid along an axis of a panel, which is small


@styled
def density_panels(
    densities: Sequence[ArrayLike],
    titles: Sequence[str],
    bounds: Sequence[Bounds],
    targets: Sequence[str] | None = None,
    columns: Sequence[str] = ("x1", "x2"),
    per_row: int = 6,
) -> Figure:
    """Densities on grids, a panel each; those of one target have one colour scale, and begin a row.

    The scale of a target goes from 0 to the maximum of its first panel, so that a flow with a spike does not turn the
    others dark: put the exact density first.

    Arguments:
        densities: each of shape (n, n): the first index runs along x1, the second along x2.
        titles: of the panels; long ones are wrapped.
        bounds: for each panel the interval of each axis.
        targets: for each panel what its density is of; None if it is the same for all.
        columns: names of the coordinates.
        per_row: panels in a row, at most.

    Raises:
        ValueError: there is no panel, or the lists differ in length.

    Example:
        >>> from flowlab.plotting import density_panels
        >>> figure = density_panels([[[0, 1], [1, 0]]] * 3, ["exact", "depth 2", "depth 4"], [((0, 1), (0, 1))] * 3)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['exact', 'depth 2', 'depth 4']
    """
    titles = [textwrap.fill(title, 25) for title in titles]
    by_target: dict[str, list[Any]] = {}
    for density, title, interval, target in zip(
        densities, titles, bounds, targets or [""] * len(densities), strict=True
    ):
        by_target.setdefault(target, []).append((np.asarray(density, dtype=float), title, interval))
    if not by_target:
        raise ValueError("there is no density to draw")
    longest = max(map(len, by_target.values()))
    per_row = -(-longest // -(-longest // per_row))  # no more rows than needed, and these equally full
    rows = [panels[at : at + per_row] for panels in by_target.values() for at in range(0, len(panels), per_row)]
    scales = [_highest(panels[0][0]) for panels in by_target.values() for _ in range(0, len(panels), per_row)]
    figure, grid = _grid(len(rows), per_row, lines=1 + max(title.count("\n") for title in titles))
    for (row, column), place in np.ndenumerate(grid):
        if column >= len(rows[row]):
            continue
        density, title, intervals = rows[row][column]
        axes = figure.add_subplot(place)
        x1, x2 = (np.linspace(low, high, size) for (low, high), size in zip(intervals, density.shape, strict=True))
        axes.pcolormesh(x1, x2, density.T, vmin=0, vmax=scales[row], shading="nearest", rasterized=True)
        axes.set_title(title, fontsize=7.5)
        axes.tick_params(labelsize=6, length=2, labelleft=column == 0)
        axes.locator_params(nbins=4)
        if column == 0:
            axes.set_ylabel(columns[1], fontsize=6.5, labelpad=1)
        if row == len(rows) - 1:
            axes.set_xlabel(columns[0], fontsize=6.5, labelpad=1)
    return figure


def run_densities(runs: Sequence[Run], titles: Sequence[str]) -> dict[str, Any]:
    """The panels of some runs, as arguments of `density_panels`: each target's own density, then its flows.

    Runs of targets that have not two dimensions are left out.

    Arguments:
        runs: from `flowlab.load_run`, trained.
        titles: one for each, as what sets it apart from the others.

    Raises:
        ConfigError: a run has no checkpoint, or the file of its data is gone.
    """
    panels: dict[str, list[Any]] = {"densities": [], "titles": [], "bounds": [], "targets": []}
    columns: list[list[str]] = []
    by_target: dict[str, list[tuple[Run, str]]] = {}
    for run, title in zip(runs, titles, strict=True):
        if run.target.dim == 2:
            by_target.setdefault(str(run.config.target), []).append((run, title))
    for target, trained in by_target.items():
        first = trained[0][0]
        columns.append([name.replace("$", r"\$") for name in first.target.columns])  # a dollar would begin a formula
        known, name = target_density(first.target, first.config.seed, next(first.flow.parameters()), PANEL)
        learned = [grid_density(run.flow, run.target.bounds, next(run.flow.parameters()), PANEL) for run, _ in trained]
        panels["densities"] += [known, *learned]
        several = f"{first.config.target.name}, " if len(by_target) > 1 else ""
        panels["titles"] += [several + name, *(title for _, title in trained)]
        panels["bounds"] += [first.target.bounds] * (len(trained) + 1)
        panels["targets"] += [target] * (len(trained) + 1)
    same = bool(columns) and all(names == columns[0] for names in columns)
    return panels | ({"columns": columns[0]} if same else {})


def _grid(rows: int, columns: int, lines: int) -> tuple[Figure, np.ndarray]:
    """A figure with places for square panels, below titles of some lines; places of shape (rows, columns)."""
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


def _highest(density: ArrayLike) -> float:
    values = np.asarray(density, dtype=float)
    return float(values[np.isfinite(values)].max(initial=0.0)) or 1.0
