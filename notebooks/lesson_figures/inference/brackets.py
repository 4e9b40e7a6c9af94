"""Bounds on log Z from several flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from flowlab.plotting.figures import BLACK, BLUE, GREY, VERMILION, styled


@styled
def brackets(bounds: Mapping[str, Sequence[float]], log_z: float, span: tuple[float, float]) -> Figure:
    """Draw ELBO, estimated log Z and EUBO of each flow on one axis, with the exact log Z as a line.

    A bound beyond the axis is drawn at its end, with its value and an arrow. The mark of log Z is the smallest, so it
    hides no bound that has the same value.

    Arguments:
        bounds: ELBO, log Z by importance sampling, and EUBO in nats, by the name of the flow.
        log_z: the exact value.
        span: the ends of the axis in nats.

    Raises:
        ValueError: a flow has not three numbers.

    Example:
        >>> from lesson_figures import brackets
        >>> figure = brackets({"narrow": [-0.7, -0.7, 30.0]}, 0.0, (-1.0, 1.0))
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['30 →']
    """
    figure = Figure(figsize=(6.4, 1.15 + 0.42 * len(bounds)))
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((0.24, 0.55 / height, 0.72, 1 - 1.0 / height))
    axes.axvline(log_z, color=GREY, ls="--", lw=1, label="exact log Z")
    looks = (("ELBO", ">", BLUE, 9), ("log Z by importance sampling", "o", BLACK, 3.5), ("EUBO", "<", VERMILION, 9))
    for place, values in enumerate(bounds.values()):
        shown = np.clip(values, *span)
        axes.plot([shown[0], shown[-1]], [-place] * 2, color="#bbbbbb", lw=3, solid_capstyle="butt", zorder=1)
        for value, at, (name, marker, colour, size) in zip(values, shown, looks, strict=True):
            label = name if place == 0 else None
            axes.plot(at, -place, marker, color=colour, markersize=size, label=label, clip_on=False)
            if value != at:
                text, side, shift = (f"{value:.0f} →", "right", -4) if value > at else (f"← {value:.0f}", "left", 4)
                axes.annotate(text, (at, -place), (shift, 7), textcoords="offset points", ha=side, fontsize=8)
    axes.set_yticks(-np.arange(len(bounds)), list(bounds))
    axes.tick_params(axis="y", length=0, pad=9)
    axes.set(xlabel="nats", xlim=span, ylim=(0.6 - len(bounds), 0.6))
    figure.legend(*axes.get_legend_handles_labels(), loc="upper right", ncols=4, columnspacing=1.0, handletextpad=0.3)
    return figure
