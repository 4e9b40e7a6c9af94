"""How chains of bounded activations train, and how steep their inverses are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.groups import COLOURS, draw_groups, strong_legend
from flowlab.plotting.style import styled


@styled
def saturation(
    steps: ArrayLike,
    norms: Mapping[str, ArrayLike],
    distances: ArrayLike,
    slopes: Mapping[str, ArrayLike],
) -> Figure:
    """Left norms of gradients by step, a cross where a run failed; right dx/dy against the distance from the bound.

    Arguments:
        steps: optimizer steps, greater than 0, of shape (n,).
        norms: of the gradients of the runs of a kind, of shape (runs, n), by name; not finite from where a run failed.
        distances: of y from the bound of an activation, of shape (m,), greater than 0.
        slopes: of the inverse at these, of shape (m,), by name; a name of `norms` has the colour that it has there.

    Raises:
        ValueError: the norms of a kind have not the shape (runs, n).

    Example:
        >>> from flowlab.plotting import saturation
        >>> figure = saturation([1, 2], {"tanh": [[1.0, float("nan")]]}, [0.1, 1.0], {"tanh": [5.3, 1.0]})
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['norm of the gradient', 'slope of the inverse, dx/dy']
    """
    figure = Figure(figsize=(8.0, 3.6))
    left, right = figure.subplots(
        1, 2, gridspec_kw={"wspace": 0.2, "left": 0.07, "right": 0.97, "width_ratios": (1.25, 1)}
    )
    draw_groups(left, steps, norms)
    left.set_xscale("log")
    left.set(xlabel="optimizer step", title="norm of the gradient")
    strong_legend(left)
    names = list(norms)
    others = iter(COLOURS[len(names) :])
    for name, values in slopes.items():
        colour = COLOURS[names.index(name)] if name in names else next(others)
        dashes = "-" if name in names else "--"  # for one activation is often as steep as two
        right.loglog(np.asarray(distances), np.asarray(values), color=colour, ls=dashes, label=name)
    right.set(xlabel="distance of y from the bound", title="slope of the inverse, dx/dy")
    right.legend(loc="best")
    return figure
