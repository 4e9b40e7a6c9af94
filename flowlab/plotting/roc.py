"""How well a score tells two classes apart: receiver operating characteristics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.style import BLUE, GREEN, GREY, VERMILION, styled

Curve = tuple[ArrayLike, ArrayLike]


@styled
def roc_curves(curves: Mapping[str, Sequence[Curve]]) -> Figure:
    """For each detector its curves, one a split: the share of anomalies found against that of false alarms.

    The diagonal is chance.

    Arguments:
        curves: false and true positive rates of each split, by the name that the legend gives the detector.

    Raises:
        ValueError: there are more than three detectors, or a rate is not from 0 to 1.

    Example:
        >>> from flowlab.plotting import roc_curves
        >>> figure = roc_curves({"flow": [([0, 0.1, 1], [0, 0.9, 1]), ([0, 0.2, 1], [0, 0.8, 1])]})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['flow', 'chance']
    """
    looks = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."))
    if len(curves) > len(looks):
        raise ValueError(f"{len(curves)} detectors are too many to tell apart; draw at most {len(looks)}")
    figure = Figure(figsize=(4.2, 3.9))
    axes = figure.subplots(gridspec_kw={"left": 0.13, "bottom": 0.12})
    for (name, splits), (colour, dashes) in zip(curves.items(), looks, strict=False):
        for number, (false, true) in enumerate(splits):
            rates = np.concatenate([np.asarray(false, dtype=float), np.asarray(true, dtype=float)])
            if not ((rates >= 0) & (rates <= 1)).all():
                raise ValueError(f"{name}: rates must be from 0 to 1")
            axes.plot(false, true, dashes, color=colour, lw=1, alpha=0.8, label=None if number else name)
    axes.plot([0, 1], [0, 1], ":", color=GREY, lw=1, label="chance")
    axes.set(xlabel="share of normal rows called anomalies", ylabel="share of anomalies found", aspect="equal")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right")
    return figure
