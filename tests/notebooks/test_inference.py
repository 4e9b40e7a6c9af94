"""Figures of variational inference draw the numbers that they are given."""

import numpy as np
import pytest
from lesson_figures import brackets, posterior_intervals


def test_posterior_intervals_draw_each_method_below_the_other():
    nuts, flow = [[1.0, 2.0], [0.5, 1.0]], [[1.5, 2.5], [0.25, 2.0]]
    (axes,) = posterior_intervals(["mu", "tau"], {"NUTS": nuts, "flow": flow}, "points").axes
    for container, (means, deviations) in zip(axes.containers, (nuts, flow), strict=True):
        np.testing.assert_array_equal(container.lines[0].get_xdata(), means)
        ends = [bar[:, 0] for bar in container.lines[2][0].get_segments()]
        np.testing.assert_allclose(np.diff(ends).ravel(), 2 * np.array(deviations))
    first, second = (container.lines[0].get_ydata() for container in axes.containers)
    assert (first > second).all()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mu", "tau"]
    with pytest.raises(ValueError, match="zip"):
        posterior_intervals(["mu"], {name: [[1.0], [1.0]] for name in "abcd"}, "points")


def test_brackets_draw_bounds_and_cut_them_at_the_ends_of_the_axis():
    (axes,) = brackets({"good": [-0.1, 0.0, 0.1], "narrow": [-0.7, -0.7, 40.0]}, 0.0, (-1.0, 1.0)).axes
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "<o>"]
    np.testing.assert_allclose(points, [-0.1, 0.0, 0.1, -0.7, -0.7, 1.0])
    assert [text.get_text() for text in axes.texts] == ["40 →"]
    bound, estimate = (next(line for line in axes.lines if line.get_marker() == mark) for mark in ">o")
    assert bound.get_markersize() > 2 * estimate.get_markersize()  # equal values: both can be seen
    with pytest.raises(ValueError, match="zip"):
        brackets({"bad": [0.0, 1.0]}, 0.0, (-1.0, 1.0))
