"""The figure of curves that should be one draws each of them, and how far it lies from the first."""

import numpy as np
import pytest

from flowlab.plotting import coinciding_curves

STEPS = [10, 20, 30]
FIRST = np.array([6.0, 5.0, -4.5])
CURVES = {"alone": FIRST, "together": np.add(FIRST, [0.0, 0.25, -0.5]), "in a stack": np.add(FIRST, [1e-12, 0.0, 0.0])}


def test_every_curve_is_drawn_and_its_difference_from_the_first():
    left, right = coinciding_curves(STEPS, CURVES, margin=1e-9).axes
    assert [line.get_label() for line in left.lines] == list(CURVES)
    for line, curve in zip(left.lines, CURVES.values(), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.transpose([STEPS, curve]))
    together, stack, margin = right.lines
    assert [line.get_label() for line in right.lines] == ["together", "in a stack", "margin"]
    np.testing.assert_array_equal(together.get_xdata(), STEPS)
    np.testing.assert_allclose(together.get_ydata(), [8.9e-16, 0.25, 0.5], rtol=0.01)
    np.testing.assert_allclose(stack.get_ydata(), [1e-12, 8.9e-16, 8.9e-16], rtol=0.01)
    assert set(margin.get_ydata()) == {1e-9}
    assert (left.get_yscale(), right.get_yscale()) == ("linear", "log")
    assert right.get_title(loc="left") == "difference from alone"


def test_the_first_can_be_seen_below_the_others():
    first, second, third = coinciding_curves(STEPS, CURVES, margin=1e-9).axes[0].lines
    assert first.get_linewidth() > 2 * max(second.get_linewidth(), third.get_linewidth())
    assert third.is_dashed()
    assert not second.is_dashed()


@pytest.mark.parametrize("count", [1, 4])
def test_what_is_no_pair_or_triple_is_refused(count):
    with pytest.raises(ValueError, match=f"curves: {count} of them; must be 2 or 3"):
        coinciding_curves(STEPS, {str(number): FIRST for number in range(count)}, margin=1e-9)


def test_a_curve_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"together: of shape \(2,\); must be \(3,\)"):
        coinciding_curves(STEPS, {"alone": FIRST, "together": FIRST[:2]}, margin=1e-9)
