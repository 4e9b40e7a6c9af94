"""Curves that should be one and the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.style import BLACK, BLUE, GREY, VERMILION, styled

# The first is broad and pale, so that those upon it do not hide it.
FIRST: dict[str, Any] = {"color": BLUE, "lw": 6, "alpha": 0.35, "solid_capstyle": "round"}
OTHERS: tuple[dict[str, Any], ...] = ({"color": VERMILION, "ls": "-"}, {"color": BLACK, "ls": (0, (1, 3)), "lw": 2})


@styled
def coinciding_curves(steps: ArrayLike, curves: Mapping[str, ArrayLike], margin: float, ylabel: str = "nats") -> Figure:
    """Curves c_0, c_1 ... over each other, and beside them |c_k - c_0|, how far each lies from the first.

    The differences are on a logarithmic axis. One that is 0 has no place there: it is drawn at the spacing of double
    precision numbers around c_0.

    Arguments:
        steps: optimizer steps, of shape (n,).
        curves: two or three by name, each of shape (n,).
        margin: what a difference may be at most, in the unit of the curves; drawn as a line.
        ylabel: what the values are.

    Raises:
        ValueError: there are not two or three curves, or one has not the shape (n,).

    Example:
        >>> from flowlab.plotting import coinciding_curves
        >>> figure = coinciding_curves([10, 20], {"alone": [6.0, 5.0], "together": [6.0, 5.0 + 1e-15]}, margin=1e-9)
        >>> figure.axes[1].get_legend_handles_labels()[1]
        ['together', 'margin']
    """
    steps = np.asarray(steps)
    values = {name: np.asarray(curve, dtype=float) for name, curve in curves.items()}
    if not 2 <= len(values) <= 1 + len(OTHERS):
        raise ValueError(f"curves: {len(values)} of them; must be 2 or 3")
    for name, curve in values.items():
        if curve.shape != steps.shape:
            raise ValueError(f"{name}: of shape {curve.shape}; must be ({len(steps)},), a value for each step")
    (first, reference), *others = values.items()
    figure = Figure(figsize=(8.2, 3.3))
    left, right = figure.subplots(1, 2, gridspec_kw={"left": 0.07, "bottom": 0.14, "wspace": 0.24})
    left.plot(steps, reference, label=first, **FIRST)
    for (name, curve), how in zip(others, OTHERS, strict=False):
        left.plot(steps, curve, label=name, **how)
        difference = np.maximum(np.abs(curve - reference), np.spacing(np.abs(reference)))
        right.plot(steps, difference, label=name, **how)
    right.axhline(margin, color=GREY, ls="--", lw=1.2, label="margin")
    right.set_yscale("log")
    left.set(xlabel="optimizer step", ylabel=ylabel, title="over each other")
    right.set(xlabel="optimizer step", title=f"difference from {first}")
    left.legend(loc="best")
    right.legend(loc="best")
    return figure
