"""The gain of posteriors over the diagonal Gaussian, in two parts."""

from __future__ import annotations

import numpy as np
import pandas
from matplotlib.figure import Figure

from flowlab.plotting.figures import BLACK, BLUE, VERMILION, styled


@styled
def gain_bars(table: pandas.DataFrame, reference: str = "diagonal") -> Figure:
    """Draw the gains in log p(x) and of the bound as bars side by side, with the gain in ELBO as a point over them.

    Whiskers are 95 % intervals of each.

    Arguments:
        table: from `flowlab.vae.gains.split_gains`.
        reference: the posterior that has no gain; it is left out.

    Example:
        >>> import pandas
        >>> from lesson_figures.autoencoders import gain_bars
        >>> names = ("gain", "model", "bound", "gain_interval", "model_interval", "bound_interval")
        >>> row = {"data": "digits", "posterior": "iaf"} | dict.fromkeys(names, 1.0)
        >>> [axes.get_title(loc="left") for axes in gain_bars(pandas.DataFrame([row])).axes]
        ['digits']
    """
    shown = table[table.posterior != reference]
    data = list(dict.fromkeys(shown.data))
    figure = Figure(figsize=(4.2 * len(data) + 0.6, 3.0))
    panels = figure.subplots(1, len(data), squeeze=False, gridspec_kw={"bottom": 0.16, "wspace": 0.22})[0]
    looks = {"model": (BLUE, "better model"), "bound": (VERMILION, "tighter bound")}
    for axes, name in zip(panels, data, strict=True):
        rows = shown[shown.data == name]
        places = np.arange(len(rows))
        for offset, (part, (colour, label)) in zip((-0.2, 0.2), looks.items(), strict=True):
            interval = rows[f"{part}_interval"]
            axes.bar(places + offset, rows[part], 0.36, yerr=interval, color=colour, label=label, ecolor="0.35")
        axes.errorbar(
            places, rows.gain, rows.gain_interval, fmt="D", color=BLACK, markersize=4, capsize=3, label="both: ELBO"
        )
        axes.axhline(0, color=BLACK, linewidth=0.8)
        axes.set(title=name, ylabel="gain over the diagonal (nats)")
        axes.set_xticks(places, list(rows.posterior))
        axes.grid(visible=False, axis="x")
    panels[-1].legend(loc="best")
    return figure
