"""Histograms count all samples, and the exact density is drawn over them."""

import numpy as np
from lesson_figures import estimates, histogram, histograms

SAMPLES = np.array([-0.5, 0.1, 0.2, 0.3, 0.9, 1.6, 7.0, 9.0])
POINTS = np.linspace(-1.0, 2.0, 7)
DENSITY = np.linspace(0.1, 0.4, 7)
HEIGHTS = np.array([1, 4, 1]) / len(SAMPLES)  # bins of width 1; two samples lie outside and count


def check(axes):
    steps, (line,) = axes.patches[0].get_data(), axes.lines
    np.testing.assert_allclose(steps.values, HEIGHTS)
    np.testing.assert_allclose(steps.edges, [-1, 0, 1, 2])
    np.testing.assert_array_equal(line.get_xydata(), np.column_stack([POINTS, DENSITY]))
    assert axes.get_xlim() == (-1, 2)
    assert axes.get_ylim()[0] == 0


def test_histogram_draws_fractions_of_all_samples():
    (axes,) = histogram(SAMPLES, POINTS, DENSITY, "some", bins=3).axes
    check(axes)
    assert axes.get_title(loc="left") == "some (8 samples)"


def test_histograms_draws_each_on_its_own_axes():
    other = (SAMPLES + 5, POINTS + 5, 2 * DENSITY)
    first, second = histograms([(SAMPLES, POINTS, DENSITY), other], ["a", "b"], ["x", "y"], bins=3).axes
    check(first)
    np.testing.assert_allclose(second.patches[0].get_data().edges, [4, 5, 6, 7])
    np.testing.assert_array_equal(second.lines[0].get_ydata(), 2 * DENSITY)
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["a", "b"]
    assert [axes.get_xlabel() for axes in (first, second)] == ["x", "y"]


def test_estimates_share_the_bins_of_a_panel():
    wide, narrow = np.array([0.0, 1.0, 2.0, 4.0]), np.array([2.0, 2.1, 2.2])
    first, second = estimates([{"wide": wide, "narrow": narrow}] * 2, ["start", "end"], "nats", bins=4).axes
    drawn = [patch.get_data() for patch in first.patches]
    for steps, heights in zip(drawn, ([1, 1, 1, 1], [0, 0, 3, 0]), strict=True):
        np.testing.assert_allclose(steps.edges, [0, 1, 2, 3, 4])
        np.testing.assert_allclose(steps.values, heights)
    assert first.get_legend_handles_labels()[1] == ["wide", "narrow"]
    assert second.get_title(loc="left") == "end"
