import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from flowlab.plotting.axes import LIGHT


def plain(panels):
    panels[0].set(xlabel="x1", ylabel="x2", title="panel")


def large_numbers(panels):
    for axes in panels:
        axes.set(xlim=(1e7, 1e7 + 3), ylim=(0, 1e-9))  # with an offset beside the axis


def logarithmic(panels):
    panels[0].set_xscale("log")
    panels[0].set(xlim=(0.1, 100), ylim=(3, -3))


def small_ticks(panels):
    for axes in panels:
        axes.tick_params(labelsize=5, length=6, labelleft=False)
        axes.locator_params(nbins=3)


def turned_labels(panels):
    for label in panels[1].get_xticklabels():
        label.set_rotation(45)


def grid_and_both_sides(panels):
    panels[0].grid(True)
    panels[1].tick_params(right=True, labelright=True)


def own_ticks(panels):
    panels[0].set_xticks([0.0, 0.5], ["none", "half"])
    panels[1].set_yticks([])
    panels[1].set_xticks([0.25])
    panels[1].set_xticks([0.1, 0.3], minor=True)


def aligned(panels):
    panels[0].set_ylabel("x2")
    panels[1].set(ylabel="x3", ylim=(0, 1e6))
    panels[0].figure.align_ylabels()


def colour_bar(panels):
    mesh = panels[1].pcolormesh([[0.0, 1.0], [2.0, 3.0]])
    panels[0].figure.colorbar(mesh, ax=panels)


CHANGES = [plain, large_numbers, logarithmic, small_ticks, turned_labels, grid_and_both_sides, own_ticks, aligned]


def draw(change, shared, **options):
    figure = Figure(figsize=(4, 2))
    panels = figure.subplots(1, 2, sharex=shared, sharey=shared, **options)
    for axes in panels:
        axes.plot([0, 1], [0, 1])
    change(panels)
    images = []
    for bbox in (None, "tight", None):  # also again
        png = io.BytesIO()
        figure.savefig(png, format="rgba", bbox_inches=bbox)
        images.append(png.getvalue())
    return images


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("change", [*CHANGES, colour_bar], ids=lambda each: each.__name__)
def test_the_pixels_are_those_of_usual_axes(change, shared):
    assert draw(change, shared, subplot_kw=LIGHT) == draw(change, shared)


def test_an_axis_has_one_tick_until_somebody_asks_for_more():
    figure = Figure()
    axes = figure.subplots(subplot_kw=LIGHT)
    figure.canvas.draw()
    assert [len(axis.majorTicks) for axis in (axes.xaxis, axes.yaxis)] == [1, 1]
    assert not {"minorTicks"} & {*vars(axes.xaxis), *vars(axes.yaxis)}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert np.array_equal(axes.get_xticks(), [tick.get_loc() for tick in axes.xaxis.get_major_ticks()])
