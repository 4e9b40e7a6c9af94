"""The figure of a map and its density, and real widgets whose sliders change it."""

import sys

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from lesson_figures import Sliders, map_and_density
from lesson_figures.display.sliders import VIEW

X = np.linspace(-2.0, 2.0, 5)


def line(scale, shift):
    return map_and_density(X, scale * X + shift, X, np.full(5, 0.5 / scale), np.full(5, 0.5))


def drawn_map(figure):
    return figure.axes[0].lines[1].get_xydata()


def test_map_and_density_draws_the_map_and_both_densities():
    figure = map_and_density(X, 2 * X, X + 1, X**2, X**4, limit=3.0, highest=9.0, title="y = 2 x")
    left, right = figure.axes
    np.testing.assert_array_equal(left.lines[1].get_xydata(), np.column_stack([X, 2 * X]))
    base, flow = right.lines
    np.testing.assert_array_equal(base.get_xydata(), np.column_stack([X + 1, X**4]))
    np.testing.assert_array_equal(flow.get_xydata(), np.column_stack([X + 1, X**2]))
    assert left.get_title(loc="left") == "y = 2 x"
    assert left.get_xlim() == left.get_ylim() == right.get_xlim() == (-3, 3)
    assert right.get_ylim() == (0, 9)


def test_moving_a_slider_redraws_the_figure():
    sliders = Sliders(line, scale=(0.5, 3.0, 1.0), shift=(-2.0, 2.0, 0.0))
    np.testing.assert_array_equal(drawn_map(sliders.figure), np.column_stack([X, X]))
    sliders.widgets["scale"].value = 2.0
    sliders.widgets["shift"].value = -1.0
    assert sliders.values == {"scale": 2.0, "shift": -1.0}
    np.testing.assert_array_equal(drawn_map(sliders.figure), np.column_stack([X, 2 * X - 1]))
    np.testing.assert_array_equal(sliders.figure.axes[1].lines[1].get_ydata(), np.full(5, 0.25))


@pytest.fixture
def shell():
    """The shell that `display` needs."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.mark.usefixtures("shell")
def test_sliders_display_a_view_and_a_picture_that_is_replaced():
    sliders = Sliders(line, scale=(0.5, 3.0, 1.0), shift=(-2.0, 2.0, 0.0))
    with capture_output() as shown:
        sliders._ipython_display_()
    view, picture = shown.outputs
    assert view.data[VIEW]["model_id"] == sliders._box.model_id
    text = "Sliders, which move in a running notebook: scale from 0.5 to 3, shift from -2 to 2"
    assert view.data["text/plain"] == text
    assert "Figure" in picture.data["text/plain"]
    with capture_output() as moved:
        sliders.widgets["scale"].value = 2.5
    (replaced,) = moved.outputs
    assert replaced.update
    assert replaced.transient == picture.transient
    assert repr(sliders) == text  # the text does not depend on the values


def test_an_initial_value_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="scale=9 is outside its range; allowed are 0.5 to 3"):
        Sliders(line, scale=(0.5, 3.0, 9), shift=(-2.0, 2.0, 0.0))


def test_missing_ipywidgets_error_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install 'ipywidgets"):
        Sliders(line, scale=(0.5, 3.0, 1.0), shift=(-2.0, 2.0, 0.0))
