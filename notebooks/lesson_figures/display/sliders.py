"""A figure that follows sliders in a notebook, and stays a picture without a kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import BLUE, GREY, VERMILION, styled

VIEW = "application/vnd.jupyter.widget-view+json"


@styled
def map_and_density(
    x: ArrayLike,
    y: ArrayLike,
    points: ArrayLike,
    density: ArrayLike,
    base_density: ArrayLike,
    limit: float = 5.0,
    highest: float = 1.0,
    title: str = "",
) -> Figure:
    """Draw a map of the line, y against x, and beside it the densities of the base and of its image.

    The axes do not depend on the data, so figures of different maps can be compared.

    Arguments:
        x, y: points and their images, of shape (n,).
        points: points for both densities, of shape (m,).
        density, base_density: the densities of the flow and its base at these points, of shape (m,).
        limit: x, y and the points are shown from -limit to limit.
        highest: the upper end of the axis of densities.
        title: the title of the map.

    Example:
        >>> from lesson_figures import map_and_density
        >>> figure = map_and_density([0, 1], [0, 2], [0, 2], [0.2, 0.1], [0.4, 0.1], title="y = 2 x")
        >>> figure.axes[0].lines[1].get_ydata().tolist()
        [0.0, 2.0]
    """
    figure = Figure(figsize=(7.5, 3.4))
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.25, "left": 0.07})
    left.axline((0, 0), slope=1, color=GREY, lw=1, ls=":", label="y = x")
    left.plot(np.asarray(x, dtype=float), np.asarray(y, dtype=float), color=VERMILION, label="the map")
    left.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="x", ylabel="y", title=title or "the map")
    right.plot(points, base_density, color=GREY, lw=1, ls=":", label="base")
    right.fill_between(np.asarray(points), np.asarray(density), color=BLUE, alpha=0.2, linewidth=0)
    right.plot(points, density, color=BLUE, label="flow")
    right.set(xlim=(-limit, limit), ylim=(0, highest), xlabel="y", ylabel="density", title="the density")
    for axes, place in ((left, "upper left"), (right, "upper right")):
        axes.legend(loc=place)
    return figure


class Sliders:
    """A figure of some numbers with a slider for each number; moving a slider redraws the figure.

    A notebook shows two outputs: the sliders, and below them an ordinary picture, which is replaced. The picture stays
    visible where sliders do not move: on GitHub, in an exported page, before the notebook has run.

    Arguments:
        draw: returns the figure for the values, passed by name.
        ranges: for each name the minimum, the maximum and the initial value.

    Raises:
        ModuleNotFoundError: ipywidgets is not installed.
        ValueError: an initial value lies outside its range.
    """

    def __init__(self, draw: Callable[..., Figure], **ranges: tuple[float, float, float]) -> None:
        widgets = _import_ipywidgets()
        for name, (least, greatest, start) in ranges.items():
            if not least <= start <= greatest:
                raise ValueError(f"Sliders: {name}={start} is outside its range; allowed are {least} to {greatest}")
        self._draw, self._ranges = draw, ranges
        self._updates: list[Callable[[Figure], None]] = []  # one for each picture in the notebook
        self.widgets = {
            name: widgets.FloatSlider(value=start, min=least, max=greatest, step=0.05, description=name)
            for name, (least, greatest, start) in ranges.items()
        }
        self._box = widgets.VBox(list(self.widgets.values()))
        self.figure = draw(**self.values)
        for widget in self.widgets.values():
            widget.observe(self._redraw, names="value")

    @property
    def values(self) -> dict[str, float]:
        """The present values by name."""
        return {name: widget.value for name, widget in self.widgets.items()}

    def __repr__(self) -> str:
        named = [f"{name} from {least:g} to {greatest:g}" for name, (least, greatest, _) in self._ranges.items()]
        return f"Sliders, which move in a running notebook: {', '.join(named)}"

    def _redraw(self, _change: object) -> None:
        self.figure = self._draw(**self.values)
        for update in self._updates:
            update(self.figure)

    def show(self, text: str, metadata: dict[str, Any]) -> None:
        """Display the sliders, and below them the picture with a text version and metadata."""
        from IPython.display import display

        from lesson_figures.display.picture import as_bundle

        self._display_view()
        handle = display(as_bundle(self.figure, text), raw=True, display_id=True, metadata=metadata)
        self._updates.append(lambda figure: handle.update(as_bundle(figure, repr(figure)), raw=True, metadata=metadata))

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self._display_view()
        self._updates.append(display(self.figure, display_id=True).update)

    def _display_view(self) -> None:
        from IPython.display import display

        view = self._box._repr_mimebundle_()[VIEW]
        display({VIEW: view, "text/plain": repr(self)}, raw=True)


def _import_ipywidgets() -> Any:
    try:
        import ipywidgets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Sliders need ipywidgets: pip install 'ipywidgets>=8,<9'") from error
    return ipywidgets
