"""The figures of a kink draw the data that they are given."""

import numpy as np
from lesson_figures import kink_gradient, kink_spike

SHIFTS, AVERAGES = [0.0, 1.0, 2.0, 3.0], [4.0, 3.0, 3.5, 6.0]
DERIVATIVES, EXPECTATIONS, BOUNDARIES = [-1.0, 0.0, 1.0, 3.0], [-2.0, -1.0, 0.5, 2.0], [1.0, 1.0, 0.5, 1.0]


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_kink_gradient_draws_averages_and_gradients():
    left, right = kink_gradient(SHIFTS, AVERAGES, DERIVATIVES, EXPECTATIONS, BOUNDARIES).axes
    np.testing.assert_array_equal(left.lines[0].get_xydata(), np.column_stack([SHIFTS, AVERAGES]))
    lines = lines_of(right)
    np.testing.assert_array_equal(lines["derivative of the mean"].get_ydata(), DERIVATIVES)
    np.testing.assert_array_equal(lines["mean of the derivative"].get_ydata(), EXPECTATIONS)
    np.testing.assert_array_equal(lines["the latter + boundary term"].get_ydata(), np.add(EXPECTATIONS, BOUNDARIES))
    assert left.get_legend() is None


def test_kink_gradient_marks_the_end_of_an_ascent():
    left, _ = kink_gradient(
        SHIFTS, AVERAGES, DERIVATIVES, EXPECTATIONS, BOUNDARIES, {"plain": [3.0, 2.5], "corrected": [3.0, 2.0, 1.0]}
    ).axes
    lines = lines_of(left)
    np.testing.assert_allclose(lines["plain"].get_xydata(), [[2.5, 4.75]])
    np.testing.assert_allclose(lines["corrected"].get_xydata(), [[1.0, 3.0]])
    assert lines["plain"].get_color() != lines["corrected"].get_color()


def test_kink_spike_draws_integrands_and_dashes_the_sharp_one():
    integrands = {"wide": [1, 2, 1, 0], "narrow": [0, 9, 0, 0], "sharp": [1, 1, 1, 1]}
    (axes,) = kink_spike(SHIFTS, integrands, ylim=(-1, 3)).axes
    lines = lines_of(axes)
    for name, values in integrands.items():
        np.testing.assert_array_equal(lines[name].get_xydata(), np.column_stack([SHIFTS, values]))
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "--"]
    assert axes.get_ylim() == (-1, 3)
