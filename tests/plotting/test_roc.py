import numpy as np
import pytest

from flowlab.plotting import roc_curves


def test_every_split_is_a_line_and_every_detector_one_entry_of_the_legend():
    first, second = ([0, 0.1, 1], [0, 0.9, 1]), ([0, 0.2, 1], [0, 0.7, 1])
    (axes,) = roc_curves({"flow": [first, second], "Gaussian": [second]}).axes
    drawn = [line.get_xydata() for line in axes.lines]
    for line, (false, true) in zip(drawn, [first, second, second], strict=False):
        np.testing.assert_array_equal(line, np.column_stack([false, true]))
    np.testing.assert_array_equal(drawn[-1], [[0, 0], [1, 1]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["flow", "Gaussian", "chance"]
    assert axes.lines[0].get_color() == axes.lines[1].get_color() != axes.lines[2].get_color()


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match="flow: rates must be from 0 to 1"):
        roc_curves({"flow": [([0, 2], [0, 1])]})
    with pytest.raises(ValueError, match="4 detectors are too many"):
        roc_curves({name: [([0, 1], [0, 1])] for name in "abcd"})
