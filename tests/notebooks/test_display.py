"""Pictures carry their alternative text and fingerprints, and an animation is a PNG of all its frames."""

import base64
import io

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from lesson_figures import Sliders, animate, map_and_density, show
from matplotlib.figure import Figure
from PIL import Image

from flowlab.claims.check import METADATA
from flowlab.claims.ledger import LedgerError


def bar(height):
    figure = Figure(figsize=(2, 2))
    figure.subplots().bar([0], [height], color="#0072B2")
    figure.axes[0].set_ylim(0, 1)
    return figure


def share_of_blue(image):
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), dtype=int), -1, 0)
    return ((blue > 120) & (red < 60) & (green < 160)).mean()


@pytest.fixture
def notebook(monkeypatch):
    """A shell whose displays are captured, as in a notebook."""
    shell = InteractiveShell.instance()
    shell.display_formatter.formatters["image/png"].for_type(Figure, lambda figure: b"a picture")
    monkeypatch.setattr("lesson_figures.display.picture.is_in_notebook", lambda: True)
    yield
    InteractiveShell.clear_instance()


def test_an_animation_has_a_frame_for_each_state_and_rests_on_its_last():
    animation = animate(bar, [0.1, 0.5, 0.9])
    assert animation.frames == 3
    image = Image.open(io.BytesIO(animation.png))
    assert image.n_frames == 4  # with the default image
    shares = []
    for number in range(4):
        image.seek(number)
        shares.append(share_of_blue(image))
    default, *frames = shares
    assert frames[0] < frames[1] < frames[2]
    assert default == frames[2] > 0.1


def test_an_animation_is_the_same_every_time_and_needs_a_state():
    assert animate(bar, [0.1, 0.5]) == animate(bar, [0.1, 0.5])
    with pytest.raises(ValueError, match="states: there is none"):
        animate(bar, [])


@pytest.mark.usefixtures("notebook")
def test_show_stores_the_fingerprints_as_the_text_version_of_the_picture():
    with capture_output() as shown:
        show(bar(0.5), "One bar of half the height.", {"heights": [0.5]}, digits=1, id="FJ1")
        show(animate(bar, [0.1, 0.9]), "A bar that grows.", {"heights": [0.1, 0.9]})
    figure, animation = shown.outputs
    assert shown.stdout == ""
    assert figure.data["text/plain"] == "fingerprint heights: shape (1,), min 0.5, mean 0.5, max 0.5"
    assert figure.metadata == {"image/png": {"alt": "One bar of half the height."}, METADATA: {"figure": "FJ1"}}
    assert base64.b64decode(animation.data["image/png"]).startswith(b"\x89PNG")
    assert animation.metadata == {"image/png": {"alt": "A bar that grows."}}


@pytest.mark.usefixtures("notebook")
def test_a_figure_with_sliders_has_both_too():
    x = np.linspace(-1, 1, 3)
    sliders = Sliders(lambda scale: map_and_density(x, scale * x, x, x**2, x**2), scale=(0.5, 2.0, 1.0))
    with capture_output() as shown:
        show(sliders, "A line and its density.", {"density": x**2})
    view, picture = shown.outputs
    assert view.data["text/plain"] == repr(sliders)
    assert picture.data["text/plain"].startswith("fingerprint density")
    assert picture.metadata == {"image/png": {"alt": "A line and its density."}}
    with capture_output() as moved:
        sliders.widgets["scale"].value = 2.0
    assert moved.outputs[0].update
    assert moved.outputs[0].metadata == picture.metadata


def test_a_picture_without_text_or_data_and_an_unknown_figure_are_refused():
    with pytest.raises(ValueError, match="needs an alternative text"):
        show(bar(0.5), "", {"heights": [0.5]})
    with pytest.raises(ValueError, match="needs an alternative text"):
        show(bar(0.5), "One bar.", {})
    with pytest.raises(LedgerError, match="the ledger has no such figure"):
        show(bar(0.5), "One bar.", {"heights": [0.5]}, id="FJ99")
