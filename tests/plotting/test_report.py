"""The small figures of a report."""

import numpy as np
import pytest

from flowlab.plotting.report import (
    label,
    likelihood_dots,
    marginal_histogram,
    pair_densities,
    pit_histogram,
    render_svg,
)

DRAWS = np.random.default_rng(0)


def test_both_sides_of_a_column_share_their_bins():
    figure = marginal_histogram(DRAWS.normal(size=2000), DRAWS.normal(3, size=2000), "age")
    (axes,) = figure.axes
    real, generated = (patch.get_data() for patch in axes.patches)
    assert np.array_equal(real.edges, generated.edges)
    for side in (real, generated):
        assert (side.values * np.diff(side.edges)).sum() == pytest.approx(1, abs=0.01)
    assert axes.get_xlabel() == "age"


def test_whole_numbers_have_a_bar_each():
    counts = DRAWS.poisson(2, size=(2, 1000))
    edges = marginal_histogram(counts[0], counts[1], "visits").axes[0].patches[0].get_data().edges
    assert edges[:3].tolist() == [-0.5, 0.5, 1.5]


def test_a_column_of_one_value_is_drawn():
    render_svg(marginal_histogram(np.full(50, 2.5), np.full(50, 2.5), "same"))


@pytest.mark.parametrize("count", [100, 3000])
def test_both_sides_of_a_pair_share_axes_and_colours(count):
    real, generated = DRAWS.normal(size=(2, count, 2))
    left, right = pair_densities(real, generated / 2, ["a", "b"]).axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["real", "generated"]
    if count > 1500:
        assert left.collections[0].norm is right.collections[0].norm


def test_ranks_are_drawn_as_ratios_with_their_band():
    (axes,) = pit_histogram(np.array([0.1, 0.3, 0.3, 0.3]), 0.2, 0.3, "age").axes
    assert axes.patches[-1].get_data().values.tolist() == pytest.approx([0.4, 1.2, 1.2, 1.2])
    assert axes.get_ylim()[1] > 1.2


def test_a_model_without_a_finite_mean_has_a_line_and_no_dot():
    (axes,) = likelihood_dots(["flow", "other"], [-1.0, -np.inf], [0.1, np.inf]).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["flow", "other"]
    assert len(axes.containers) == 1


def test_equal_figures_are_equal_bytes_without_a_date():
    first, second = (render_svg(pit_histogram(np.array([0.5, 0.5]), 0.4, 0.6, "age")) for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first
    assert b"age" in first  # text stays text


def test_a_label_is_short_and_no_formula():
    assert label("cost in $") == r"cost in \$"
    assert label("a\nb\x1b") == r"a b\x1b"
    assert label("long " * 20, 10) == "long long…"
