"""Receiver operating characteristics: how well a score separates two classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLUE, GREEN, GREY, VERMILION, styled

Curve = tuple[ArrayLike, ArrayLike]
CORNER = 0.4  # the side of the enlarged corner


@styled
def roc_curves(curves: Mapping[str, Sequence[Curve]]) -> Figure:
    """Draw a curve for each detector and split: the share of anomalies found against the share of false alarms.

    The diagonal is chance. The right panel enlarges the upper left corner, where good detectors differ.

    Arguments:
        curves: false and true positive rates of each split, by the detector's name in the legend.

    Raises:
        ValueError: there are more than three detectors, or a rate lies outside [0, 1].

    Example:
        >>> from lesson_figures import roc_curves
        >>> figure = roc_curves({"flow": [([0, 0.1, 1], [0, 0.9, 1]), ([0, 0.2, 1], [0, 0.8, 1])]})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['flow', 'chance']
    """
    looks = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."))
    if len(curves) > len(looks):
        raise ValueError(f"curves: has {len(curves)} detectors; at most {len(looks)} are allowed")
    figure = Figure(figsize=(7.8, 3.9))
    whole, corner = figure.subplots(1, 2, gridspec_kw={"left": 0.08, "bottom": 0.12, "wspace": 0.2})
    for (name, splits), (colour, dashes) in zip(curves.items(), looks, strict=False):
        for number, (false, true) in enumerate(splits):
            rates = np.concatenate([np.asarray(false, dtype=float), np.asarray(true, dtype=float)])
            if not ((rates >= 0) & (rates <= 1)).all():
                raise ValueError(f"{name}: has a rate outside [0, 1]; give shares, not percentages")
            for axes in (whole, corner):
                axes.plot(false, true, dashes, color=colour, lw=1, alpha=0.8, label=None if number else name)
    for axes in (whole, corner):
        axes.plot([0, 1], [0, 1], ":", color=GREY, lw=1, label="chance")
        axes.set(xlabel="share of normal rows called anomalies", aspect="equal")
    whole.set(xlim=(0, 1), ylim=(0, 1.01), ylabel="share of anomalies found", title="all thresholds")
    corner.set(xlim=(0, CORNER), ylim=(1 - CORNER, 1.004), title="the upper left corner")
    whole.legend(loc="lower right")
    return figure
