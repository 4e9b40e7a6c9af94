"""Show a picture with its alternative text and with the fingerprints of its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.claims import load_ledger
from flowlab.claims.check import METADATA
from flowlab.plotting import fingerprint
from flowlab.system.process import is_in_notebook
from lesson_figures.display.animation import Animation
from lesson_figures.display.sliders import Sliders


def show(
    picture: Figure | Animation | Sliders, alt: str, drawn: Mapping[str, ArrayLike], digits: int = 2, id: str = ""
) -> None:
    """Show a picture; its text version holds the fingerprints of its data, which nbval compares with a fresh run.

    A notebook displays the picture alone: the fingerprints do not interrupt the lesson. Elsewhere they are printed.

    Arguments:
        picture: a figure, an animation, or a figure with sliders.
        alt: the alternative text, for readers who cannot see the picture.
        drawn: the data behind the picture by name.
        digits: the digits of the fingerprints.
        id: the id of a figure of the ledger, which is then recorded for `experiments/reproduce.py`.

    Raises:
        ValueError: the alternative text or `drawn` is empty.
        LedgerError: the ledger has no figure of this id.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from lesson_figures import show
        >>> show(Figure(), "An empty frame.", {"nothing": [0.0]})
        fingerprint nothing: shape (1,), min 0.0, mean 0.0, max 0.0
    """
    if not alt or not drawn:
        raise ValueError("show: a picture needs an alternative text and the data that it draws; give alt and drawn")
    text = "\n".join(fingerprint(name, data, digits) for name, data in drawn.items())
    metadata: dict[str, Any] = {"image/png": {"alt": alt}}
    if id:
        metadata[METADATA] = {"figure": load_ledger().figure(id).id}
    if not is_in_notebook():
        print(text)
    elif isinstance(picture, Sliders):
        picture.show(text, metadata)
    else:
        from IPython.display import display

        display(as_bundle(picture, text), raw=True, metadata=metadata)


def as_bundle(picture: Figure | Animation, text: str) -> dict[str, Any]:
    """Return a picture as PNG beside a text, by MIME type."""
    if isinstance(picture, Animation):
        return {"image/png": picture.base64(), "text/plain": text}
    from IPython.core.interactiveshell import InteractiveShell

    formatter = InteractiveShell.instance().display_formatter
    assert formatter is not None
    data, _ = formatter.format(picture, include={"image/png"})
    return {**data, "text/plain": text}
