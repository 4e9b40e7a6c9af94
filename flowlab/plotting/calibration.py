"""Figures of calibration: ranks of simulation-based calibration, and coverage of credible regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLUE, GREEN, GREY, VERMILION, styled

COLUMNS = 5  # panels in a row
BAND = 0.99  # the share of bars, or of points of a curve, that the grey band holds if the posteriors are right


@styled
def rank_histograms(ranks: ArrayLike, draws: int, columns: Sequence[str] = (), bins: int = 20) -> Figure:
    """Draw a histogram of the ranks of each parameter, and the band that holds 99 % of the bars of uniform ranks.

    Arguments:
        ranks: from `flowlab.metrics.calibration.sbc_ranks`, of shape (n, d).
        draws: L, the samples of each posterior.
        columns: a name for each parameter.
        bins: the number of bars.
    """
    from scipy.stats import binom

    ranks = np.asarray(ranks)
    count, dim = ranks.shape
    names = columns or [f"theta{number + 1}" for number in range(dim)]
    rows, wide = -(-dim // COLUMNS), min(dim, COLUMNS)
    figure = Figure(figsize=(max(3.6, 2.1 * wide), 2.1 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, wide, sharex=True, sharey=True, squeeze=False).ravel()
    low, high = binom.interval(BAND, count, 1 / bins)
    for axes, each, name in zip(panels, ranks.T, names, strict=False):
        axes.axhspan(low, high, color=GREY, alpha=0.3, lw=0)
        axes.axhline(count / bins, color=GREY, lw=1)
        axes.hist(each / draws, bins, range=(0, 1), color=BLUE, alpha=0.8)
        axes.set(title=name, xlim=(0, 1), xticks=(0, 0.5, 1))
    for axes in panels[dim:]:
        axes.set_axis_off()
    figure.supxlabel(f"rank of the true parameter among {draws} samples, divided by {draws}", fontsize=8)
    figure.supylabel("simulations", fontsize=8)
    return figure


@styled
def coverage_curves(credible: ArrayLike, shares: Mapping[str, ArrayLike], simulations: int) -> Figure:
    """Draw the share of true parameters in credible regions by credible level, and the band of right posteriors.

    A curve below the diagonal shows posteriors that are too narrow.

    Arguments:
        credible: credible levels between 0 and 1, of shape (k,).
        shares: for up to three labels the result of `flowlab.metrics.calibration.expected_coverage`, of shape (k,).
        simulations: the number of simulations behind each share; the band holds 99 % of the points of a right curve.
    """
    from scipy.stats import binom

    credible = np.asarray(credible)
    figure = Figure(figsize=(3.9, 3.7), layout="constrained")
    axes = figure.subplots()
    low, high = binom.interval(BAND, simulations, credible)
    axes.fill_between(credible, low / simulations, high / simulations, color=GREY, alpha=0.3, lw=0)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1)
    for (label, each), colour, line in zip(shares.items(), (BLUE, VERMILION, GREEN), ("-", "--", ":"), strict=False):
        axes.plot(credible, np.asarray(each), color=colour, ls=line, label=label)
    axes.set(
        xlabel="credible level", ylabel="share of true parameters inside", xlim=(0, 1), ylim=(0, 1), aspect="equal"
    )
    axes.legend(loc="upper left")
    return figure
