"""Figures of calibration draw the given ranks and shares."""

import numpy as np
import scipy.stats

from flowlab.plotting import coverage_curves, rank_histograms


def test_rank_histograms_draws_a_panel_for_each_parameter():
    ranks = np.random.default_rng(0).integers(0, 100, size=(1000, 6))
    figure = rank_histograms(ranks, 99, bins=10)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == [f"theta{number}" for number in range(1, 7)]
    for axes, each in zip(panels, ranks.T, strict=True):
        bars = [patch for patch in axes.patches if patch.get_width() < 0.5]
        heights = [bar.get_height() for bar in bars]
        np.testing.assert_array_equal(heights, np.histogram(each / 99, 10, range=(0, 1))[0])
    low, high = scipy.stats.binom.interval(0.99, 1000, 0.1)
    band = next(patch for patch in panels[0].patches if patch.get_width() >= 0.5)
    assert (band.get_y(), band.get_y() + band.get_height()) == (low, high)
    assert rank_histograms(ranks[:, :2], 99, columns=["a", "b"]).axes[1].get_title(loc="left") == "b"


def test_coverage_curves_draws_every_share():
    credible = np.linspace(0, 1, 11)
    figure = coverage_curves(credible, {"narrow": credible**2, "right": credible}, simulations=200)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["narrow"].get_ydata(), credible**2)
    np.testing.assert_allclose(lines["right"].get_ydata(), credible)
    vertices = axes.collections[0].get_paths()[0].vertices
    low, high = scipy.stats.binom.interval(0.99, 200, 0.5)
    at_half = vertices[np.isclose(vertices[:, 0], 0.5), 1]
    assert {low / 200, high / 200} <= set(at_half)
