"""Figures of the lesson on variational autoencoders draw the images and gains that they are given."""

import numpy as np
import pandas
from lesson_figures.autoencoders import gain_bars, image_rows


def test_images_are_drawn_in_rows_on_one_scale():
    images = np.random.default_rng(0).uniform(size=(3, 16))
    figure = image_rows([images, 1 - images], ["first", "second"])
    assert len(figure.axes) == 6
    for axes, image in zip(figure.axes, [*images, *(1 - images)], strict=True):
        (drawn,) = axes.images
        np.testing.assert_array_equal(drawn.get_array(), image.reshape(4, 4))
        assert drawn.get_clim() == (0, 1)
    assert [figure.axes[place].get_ylabel() for place in (0, 3)] == ["first", "second"]


def test_both_parts_and_their_sum_are_drawn_with_intervals():
    parts = {"model": [0.0, 0.5, 1.0], "bound": [0.0, 0.2, -0.3], "gain": [0.0, 0.7, 0.7]}
    table = pandas.DataFrame({"data": "digits", "posterior": ["diagonal", "planar", "iaf"]} | parts)
    for part in parts:
        table[f"{part}_interval"] = 0.1
    (axes,) = gain_bars(table).axes
    heights = [[bar.get_height() for bar in bars.patches] for bars in axes.containers[:-1] if hasattr(bars, "patches")]
    assert [0.5, 1.0] in heights
    assert [0.2, -0.3] in heights
    assert [label.get_text() for label in axes.get_xticklabels()] == ["planar", "iaf"]
    assert axes.get_legend_handles_labels()[1] == ["better model", "tighter bound", "both: ELBO"]
