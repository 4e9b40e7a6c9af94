"""An animated picture: a PNG whose frames every browser plays, and whose last frame every other program shows."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

COLOURS = 96  # of all frames together, so an animation of forty frames stays below 500 kB
LAST = 2500  # milliseconds that the last frame stays


@dataclass(frozen=True)
class Animation:
    """An animated PNG, which shows its last frame where nothing moves.

    Attributes:
        png: the bytes of the picture.
        frames: the number of frames.
    """

    png: bytes = field(repr=False)
    frames: int

    def base64(self) -> str:
        """Return the picture as a notebook stores it."""
        return base64.b64encode(self.png).decode("ascii")

    def _repr_png_(self) -> bytes:
        return self.png


def animate(draw: Callable[[Any], Figure], states: Iterable[Any], milliseconds: int = 100) -> Animation:
    """Draw a figure for each state, and return them as one animated picture that repeats.

    Arguments:
        draw: returns the figure of a state; all figures have one size.
        states: one for each frame, in order.
        milliseconds: how long a frame stays; the last one stays for 2.5 seconds.

    Raises:
        ValueError: there is no state.

    Example:
        >>> from lesson_figures import animate, histogram
        >>> animate(lambda scale: histogram([0, scale], [0, 1], [1, 1], "a title", bins=2), [0.5, 1.0])
        Animation(frames=2)
    """
    from PIL import Image

    images = [_to_image(draw(state)) for state in states]
    if not images:
        raise ValueError("states: there is none; give at least one")
    # One palette for all frames, from the first, middle and last one: a colour then stays the same colour.
    chosen = [images[0], images[len(images) // 2], images[-1]]
    strip = Image.new("RGB", (images[0].width, 3 * images[0].height))
    for place, image in enumerate(chosen):
        strip.paste(image, (0, place * images[0].height))
    palette = strip.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    png = io.BytesIO()
    durations = [*[milliseconds] * (len(frames) - 1), LAST]
    # The default image is not a frame: it is for programs that do not animate, such as a printer.
    frames[-1].save(
        png, "PNG", save_all=True, append_images=frames, default_image=True, duration=durations, loop=0, optimize=True
    )
    return Animation(png.getvalue(), len(frames))


def _to_image(figure: Figure) -> Any:
    from PIL import Image

    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=90)
    return Image.open(png).convert("RGB")
