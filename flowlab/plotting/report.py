"""The small figures of a report: one column or one pair of columns each, so they reflow on a narrow screen."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from flowlab.config.untrusted import printable
from flowlab.plotting.figures import BLACK, BLUE, GREY, VERMILION, styled

REAL, GENERATED = "#9ecae1", VERMILION  # a light filled area, and a line over it
SIDES = ("real", "generated")
SHOWN = (0.002, 0.998)  # quantiles between which values are drawn
FEW_POINTS = 1500  # fewer are drawn as points
MANY_WHOLE = 60  # different whole numbers that have a bar each


@styled
def render_svg(figure: Figure) -> bytes:
    """A figure as SVG; equal figures give equal bytes. Text stays text, in a font of the reader's machine."""
    svg = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's font may have it
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue()


@styled
def marginal_histogram(real: np.ndarray, generated: np.ndarray, column: str, sides: Sequence[str] = SIDES) -> Figure:
    """Draw the densities of one column of two sides, by default of real and of generated rows, in shared bins."""
    figure = Figure(figsize=(3.3, 2.1))
    axes = figure.add_axes((0.13, 0.22, 0.84, 0.74))
    edges = _edges(real, generated)
    densities = [np.histogram(values, edges)[0] / (len(values) * np.diff(edges)) for values in (real, generated)]
    axes.stairs(densities[0], edges, fill=True, color=REAL, label=sides[0])
    axes.stairs(densities[1], edges, baseline=None, color=GENERATED, linewidth=1.3, label=sides[1])
    axes.set(xlim=(edges[0], edges[-1]), xlabel=label(column), yticks=[])
    axes.set_ylabel("density", labelpad=6)
    axes.locator_params(axis="x", nbins=5)
    axes.legend(loc="upper right", fontsize=7, handlelength=1.2, borderaxespad=0)
    axes.set_ylim(0, 1.28 * max(each.max() for each in densities) or 1)  # with room for the legend
    return figure


@styled
def pair_densities(
    real: np.ndarray, generated: np.ndarray, columns: Sequence[str], sides: Sequence[str] = SIDES
) -> Figure:
    """Draw two columns of two sides, of shape (n, 2) each, next to each other with one scale of colours."""
    figure = Figure(figsize=(3.6, 2.15))
    places = (0.16, 0.2, 0.4, 0.68), (0.58, 0.2, 0.4, 0.68)
    edges = [_edges(real[:, place], generated[:, place]) for place in (0, 1)]
    counts = [np.histogramdd(rows, edges)[0] / len(rows) for rows in (real, generated)]
    scale = PowerNorm(0.5, vmin=0, vmax=max(count.max() for count in counts) or 1)
    for place, rows, count, title in zip(places, (real, generated), counts, sides, strict=True):
        axes = figure.add_axes(place)
        if len(rows) < FEW_POINTS:
            axes.scatter(rows[:, 0], rows[:, 1], s=5, alpha=0.5, linewidths=0, color=BLUE, rasterized=True)
        else:
            axes.pcolormesh(edges[0], edges[1], count.T, norm=scale, cmap="Blues", rasterized=True)
        axes.set(xlim=edges[0][[0, -1]], ylim=edges[1][[0, -1]])
        axes.set_xlabel(label(columns[0], 18), fontsize=8)
        axes.set_title(title, fontsize=8)
        axes.locator_params(nbins=3)
        axes.tick_params(labelsize=6.5, length=2)
        if place is places[0]:
            axes.set_ylabel(label(columns[1], 18), fontsize=8)
        else:
            axes.tick_params(labelleft=False)
    return figure


@styled
def pit_histogram(shares: np.ndarray, low: float, high: float, column: str) -> Figure:
    """Draw the share of real rows in each bin of generated ranks, with the band of a perfect flow."""
    figure = Figure(figsize=(3.3, 1.9))
    axes = figure.add_axes((0.15, 0.24, 0.82, 0.72))
    bins = len(shares)
    axes.axhspan(low * bins, high * bins, color="#dddddd", linewidth=0)
    axes.axhline(1, color=GREY, linewidth=0.8)
    edges = np.arange(bins + 1) / bins
    axes.stairs(shares * bins, edges, baseline=None, color=BLUE, linewidth=1.5)
    axes.set(xlim=(0, 1), xlabel=f"rank of real {label(column, 20)}", ylabel="ratio")
    axes.set_ylim(0, max(1.6, 1.1 * float(shares.max()) * bins, 1.1 * high * bins))
    axes.locator_params(axis="y", nbins=4)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    return figure


@styled
def likelihood_dots(titles: Sequence[str], means: Sequence[float], errors: Sequence[float]) -> Figure:
    """Draw mean log likelihoods with two standard errors on each side, a line for each model; the first is the flow."""
    figure = Figure(figsize=(3.6, 0.75 + 0.3 * len(titles)))
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((0.36, 0.5 / height, 0.6, 1 - 0.6 / height))
    for place, (mean, error) in enumerate(zip(means, errors, strict=True)):
        if np.isfinite([mean, error]).all():
            colour = VERMILION if place == 0 else BLACK
            axes.errorbar(mean, -place, xerr=2 * error, fmt="o", color=colour, markersize=4.5, capsize=2)
    axes.set_yticks(-np.arange(len(titles)), [label(title) for title in titles])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="nats per row", ylim=(0.6 - len(titles), 0.6))
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines["left"].set_visible(False)
    return figure


def label(text: str, most: int = 34) -> str:
    """Text for matplotlib, which would take a dollar for the start of a formula; a long one is cut."""
    text = " ".join(printable(text).split())
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


def _edges(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """The edges of shared bins: one for each whole number if there are few, or equal ones between SHOWN quantiles."""
    both = np.concatenate([real, generated])
    low, high = np.quantile(both, SHOWN)
    if high - low <= MANY_WHOLE and (both == np.round(both)).all():
        return np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    margin = 0.03 * (high - low) or 0.5
    return np.linspace(low - margin, high + margin, (40 if len(real) >= 1000 else 20) + 1)
