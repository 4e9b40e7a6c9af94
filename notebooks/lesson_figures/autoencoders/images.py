"""Images in labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from flowlab.plotting.figures import GREY, styled


@styled
def image_rows(rows: Sequence[ArrayLike], names: Sequence[str]) -> Figure:
    """Draw square images in rows, black for 1 and white for 0.

    Arguments:
        rows: for each row images of shape (n, pixels), equally many.
        names: a name for each row.

    Example:
        >>> import numpy as np
        >>> from lesson_figures.autoencoders import image_rows
        >>> figure = image_rows([np.eye(4), np.ones((4, 4))], ["a", "b"])
        >>> len(figure.axes), figure.axes[0].images[0].get_array().shape
        (8, (2, 2))
    """
    images = [np.asarray(row) for row in rows]
    count, side = len(images[0]), round(images[0].shape[1] ** 0.5)
    figure = Figure(figsize=(1.1 + 0.62 * count, 0.66 * len(images) + 0.1))
    left = 1.1 / figure.get_figwidth()
    panels = figure.subplots(
        len(images), count, squeeze=False, gridspec_kw={"left": left, "right": 0.995, "bottom": 0.02, "top": 0.98}
    )
    for line, row, name in zip(panels, images, names, strict=True):
        for axes, image in zip(line, row, strict=True):
            axes.imshow(image.reshape(side, side), cmap="Greys", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            axes.spines[:].set(visible=True, color=GREY, linewidth=0.5)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure
