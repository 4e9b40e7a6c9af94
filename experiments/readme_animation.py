"""The moving picture of the README: a trained flow turns its base into the banana, layer by layer.

`python experiments/readme_animation.py RUN_DIR` draws experiments/results/base_to_banana.gif. RUN_DIR is any run on
points in the plane, such as the directory that `flowlab-train experiment=banana` prints. Between two stages of the flow
each point moves on a straight line, from its place before the map to its place after the map. The density of a frame
is a histogram of these points. The rings hold 39, 86 and 99 % of the base.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import gaussian_filter

import flowlab
from flowlab.bijectors.compose import stages
from flowlab.cli.command import OK, report_mistakes
from flowlab.config.errors import ConfigError
from flowlab.runs.directory import Run
from flowlab.system.process import protect_output

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "experiments" / "results" / "base_to_banana.gif"
BINS, SIZE, COLORS = 220, 3.6, 96  # bins a side; inches a side; colours of the picture
INKS = LinearSegmentedColormap.from_list("ink", ["#ffffff", "#c6dbef", "#6baed6", "#2171b5", "#08306b"])
RING, WORD = "#d95f02", "#444444"


@dataclass(frozen=True)
class Moment:
    """The content of a frame.

    Attributes:
        points: samples of the flow on their way, of shape (n, 2).
        rings: closed curves of the base on their way, of shape (rings, m, 2).
        window: the lowest and the greatest coordinates, of shape (2, 2).
        title: the words above the picture.
        wait: the time that the frame is shown, in milliseconds.
    """

    points: np.ndarray
    rings: np.ndarray
    window: np.ndarray
    title: str
    wait: int


def trace(run: Run, samples: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the samples, and the rings, before the flow and after each of its stages.

    Raises:
        ConfigError: the points of the run are not in the plane, or they have a context.
    """
    flow = run.flow
    if tuple(flow.event_shape) != (2,) or run.target.context_shape is not None:
        raise ConfigError(f"{run.directory}: points are {tuple(flow.event_shape)}, not (2,) without a context; choose "
                          "a run in the plane, such as experiment=banana")  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    angle = torch.linspace(0, 2 * torch.pi, 721)
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
    points = [torch.randn(samples, 2, generator=generator)]
    rings = [torch.stack([radius * circle for radius in (1.0, 2.0, 3.0)])]
    with torch.no_grad():
        for stage in stages(flow.bijector):
            points.append(stage(points[-1]))
            rings.append(stage(rings[-1]))
    return [each.numpy() for each in points], [each.numpy() for each in rings]


def find_window(points: np.ndarray) -> np.ndarray:
    """Return two corners of the window that holds nearly all points, with a margin."""
    low, high = np.quantile(points, [0.0005, 0.9995], axis=0)
    margin = 0.12 * (high - low)
    return np.stack([low - margin, high + margin])


def moments(points: Sequence[np.ndarray], rings: Sequence[np.ndarray], between: int) -> Iterator[Moment]:
    """Yield the frames: each stage, and `between` frames on the way to the next one."""
    windows = [find_window(each) for each in points]
    last = len(points) - 1
    for number in range(last):
        for share in np.linspace(0, 1, between, endpoint=False):
            eased = share * share * (3 - 2 * share)  # starts and ends at rest
            x, ring, window = (
                (1 - eased) * each[number] + eased * each[number + 1] for each in (points, rings, windows)
            )
            title = f"map {number + 1} of {last}" if number or share else "base: a standard normal"
            yield Moment(x, ring, window, title, 1400 if number == 0 and share == 0 else 60)
    yield Moment(points[last], rings[last], windows[last], "the trained flow", 2600)


def draw(moment: Moment) -> Figure:
    """Draw a frame: the density from light to dark, and the rings."""
    (left, bottom), (right, top) = moment.window
    edges = [np.linspace(left, right, BINS + 1), np.linspace(bottom, top, BINS + 1)]
    counts = gaussian_filter(np.histogram2d(moment.points[:, 0], moment.points[:, 1], bins=edges)[0], sigma=2.0)
    figure = Figure(figsize=(SIZE, SIZE), dpi=100)
    axes = figure.add_axes((0.11, 0.09, 0.86, 0.82))
    axes.imshow(
        np.sqrt(counts / counts.max()).T,  # the root shows the tails too
        origin="lower",
        extent=(left, right, bottom, top),
        aspect="auto",
        cmap=INKS,
        interpolation="bilinear",
    )
    for ring in moment.rings:
        axes.plot(*ring.T, color=RING, linewidth=0.7)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_title(moment.title, fontsize=10, color=WORD)
    axes.tick_params(labelsize=7, color=WORD, labelcolor=WORD, length=2)
    axes.spines[:].set_color("#bbbbbb")
    return figure


def write_gif(frames: Sequence[Moment], output: Path) -> None:
    """Write an animated GIF that starts again at its end; every frame has the colours of one palette."""
    pictures = []
    for frame in frames:
        content = io.BytesIO()
        draw(frame).savefig(content, format="png")
        pictures.append(Image.open(content).convert("RGB"))
    both = Image.new("RGB", (2 * pictures[0].width, pictures[0].height))  # the base has tints that the last has not
    both.paste(pictures[0])
    both.paste(pictures[-1], (pictures[0].width, 0))
    palette = both.quantize(COLORS, dither=Image.Dither.NONE)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    output.parent.mkdir(parents=True, exist_ok=True)
    waits = [frame.wait for frame in frames]
    first.save(output, save_all=True, append_images=rest, duration=waits, loop=0, optimize=True, disposal=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, given without the program's name, and return the exit status."""
    parser = argparse.ArgumentParser("readme_animation.py", description="Draw a flow from its base to the data.")
    parser.add_argument("run", metavar="RUN_DIR", type=Path, help="a finished run on points in the plane")
    parser.add_argument("--output", metavar="FILE", type=Path, default=OUTPUT, help="an animated GIF")
    parser.add_argument("--samples", metavar="N", type=int, default=600_000, help="points of a frame's histogram")
    parser.add_argument("--between", metavar="N", type=int, default=7, help="frames for each map")
    options = parser.parse_args(arguments)
    if options.samples < 1 or options.between < 1:
        parser.error("--samples, --between: must be at least 1")
    with protect_output():
        return report_mistakes(
            lambda: animate(options.run, options.output, options.samples, options.between), "nothing was written"
        )


def animate(run: Path, output: Path, samples: int, between: int) -> int:
    """Draw the picture of a run; return the exit status."""
    points, rings = trace(flowlab.load_run(run), samples, seed=0)
    frames = list(moments(points, rings, between))
    write_gif(frames, output)
    print(f"{output}: {len(frames)} frames, {output.stat().st_size / 1e6:.2f} MB")
    return OK


if __name__ == "__main__":
    sys.exit(main())
