import numpy as np
import pytest
from lesson_figures import roc_curves


def test_each_split_is_a_line_and_each_detector_a_legend_entry():
    first, second = ([0, 0.1, 1], [0, 0.9, 1]), ([0, 0.2, 1], [0, 0.7, 1])
    whole, corner = roc_curves({"flow": [first, second], "Gaussian": [second]}).axes
    for axes in (whole, corner):
        drawn = [line.get_xydata() for line in axes.lines]
        for line, (false, true) in zip(drawn, [first, second, second], strict=False):
            np.testing.assert_array_equal(line, np.column_stack([false, true]))
        np.testing.assert_array_equal(drawn[-1], [[0, 0], [1, 1]])
        assert axes.lines[0].get_color() == axes.lines[1].get_color() != axes.lines[2].get_color()
    assert [text.get_text() for text in whole.get_legend().get_texts()] == ["flow", "Gaussian", "chance"]
    assert (whole.get_xlim(), corner.get_xlim()) == ((0, 1), (0, 0.4))
    assert corner.get_ylim()[0] == 0.6


def test_wrong_rates_and_too_many_detectors_are_refused():
    with pytest.raises(ValueError, match=r"flow: has a rate outside \[0, 1\]"):
        roc_curves({"flow": [([0, 2], [0, 1])]})
    with pytest.raises(ValueError, match="curves: has 4 detectors; at most 3"):
        roc_curves({name: [([0, 1], [0, 1])] for name in "abcd"})
