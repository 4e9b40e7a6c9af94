"""How chains of bounded activations train, and how steep their inverses are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.groups import COLOURS, draw_groups
from flowlab.plotting.style import BLACK, styled


@styled
def saturation(
    counts: ArrayLike,
    at_start: Mapping[str, ArrayLike],
    steps: ArrayLike,
    norms: Mapping[str, ArrayLike],
    distances: ArrayLike,
    slopes: Mapping[str, ArrayLike],
) -> Figure:
    """Norms of gradients by depth and by step, a cross where a run failed; dx/dy against the distance from the bound.

    The norms of a kind are drawn as their median and range over the runs that have not failed yet.

    Arguments:
        counts: of activations in a chain, of shape (k,).
        at_start: norms of the gradients before the first step, of shape (starts, k), by name.
        steps: optimizer steps, greater than 0, of shape (n,).
        norms: of the gradients of the runs of a kind, of shape (runs, n), by name, in the order of `at_start`; from
            where a run failed, not finite.
        distances: of y from the bound of an activation, of shape (m,), greater than 0.
        slopes: of the inverse at these, of shape (m,), by name; a name of `norms` is a wide line in the
            colour that it has there, any other is dashed.

    Raises:
        ValueError: the norms of a kind have not the shape (starts, k) or (runs, n).

    Example:
        >>> from flowlab.plotting import saturation
        >>> norms, slopes = {"two tanh": [[1.0, float("nan")]]}, {"two tanh": [5.3, 1.0]}
        >>> figure = saturation([1, 2], {"tanh": [[1.0, 2.0]]}, [1, 2], norms, [0.1, 1.0], slopes)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['gradient at the start', 'gradient in training', 'slope of the inverse, dx/dy']
    """
    figure = Figure(figsize=(10.5, 3.6))
    left, middle, right = figure.subplots(
        1, 3, gridspec_kw={"wspace": 0.22, "left": 0.06, "right": 0.98, "width_ratios": (1, 1.25, 1)}
    )
    draw_groups(left, counts, at_start, bands=True)
    left.set(xlabel="activations in the chain", xticks=np.asarray(counts), title="gradient at the start", ylabel="norm")
    left.legend(loc="best")
    draw_groups(middle, steps, norms, bands=True)
    middle.set_xscale("log")
    middle.set(xlabel="optimizer step", title="gradient in training")
    middle.legend(loc="best")
    names, dashes = list(norms), cycle(("--", ":", "-."))
    for name, values in slopes.items():
        # One activation is often as steep as two: its dashes are drawn over their line, which is wide and light.
        if name in names:
            look: dict[str, Any] = {"color": COLOURS[names.index(name)], "lw": 5, "alpha": 0.4}
        else:
            look = {"color": BLACK, "ls": next(dashes), "lw": 1.4}
        right.loglog(np.asarray(distances), np.asarray(values), label=name, zorder=2 if name in names else 3, **look)
    right.set(xlabel="distance of y from the bound", title="slope of the inverse, dx/dy")
    right.legend(loc="best")
    return figure
