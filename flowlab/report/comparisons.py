"""Real and generated rows side by side: histograms, pairs of columns, quantiles, ranks and tails."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import scipy.stats

from flowlab.plotting.report import FEW_POINTS, marginal_histogram, pair_densities, pit_histogram
from flowlab.report.calibration import BAND, TAILS, Calibration
from flowlab.report.dependence import most_dependent
from flowlab.report.findings import Measured
from flowlab.report.html import (
    Html,
    element,
    figure,
    figures,
    join,
    nats,
    number,
    numbers_like,
    paragraphs,
    percent,
    table,
)

SHOWN = 40  # columns with figures and rows in tables
PAIRED = 6  # columns of the pair plots
FEW_ROWS = 500  # with fewer test rows, pictures show the rows of all splits
DRAWN = 20_000  # rows in a picture
QUANTILES = {"min": 0.0, "1 %": 0.01, "25 %": 0.25, "50 %": 0.5, "75 %": 0.75, "99 %": 0.99, "max": 1.0}


def _pictured(measured: Measured) -> tuple[np.ndarray, np.ndarray, str]:
    """The real and the generated rows in pictures, and which they are."""
    real, subject = measured.real[:DRAWN], measured.subject
    said = f"{len(real):,} test rows"
    if len(real) < FEW_ROWS:
        splits = (subject.train, subject.validation, subject.test)
        real = np.concatenate([subject.numbers(each.x) for each in splits])[:DRAWN]
        said = f"{len(real):,} rows of all splits, because there are few test rows"
    made = measured.generated[: len(real)]
    return real, made, f"Shown are {said}, and {len(made):,} generated rows"


def compare_rows(measured: Measured) -> Html:
    """The histograms of each column, the pairs of columns, and the quantiles."""
    real, made, said = _pictured(measured)
    names, places = measured.columns, _shown(measured)
    drawn = [
        figure(
            marginal_histogram(real[:, place], made[:, place], names[place]),
            f"Histograms of {names[place]}: real values have median {number(float(np.median(real[:, place])))}, "
            f"generated ones {number(float(np.median(made[:, place])))}; their distance is "
            f"{measured.calibrations[place].distance:.3f}",
        )
        for place in places
    ]
    parts = [
        paragraphs(
            f"{said}{note_contexts(measured)}. Both have the same bins. An axis leaves out 0.4 % of all values."
        ),
        element("h3", "Each column"),
        _cut(measured),
        figures(drawn),
    ]
    if len(names) > 1:
        parts += [element("h3", "Pairs of columns"), *_pairs(measured, real, made)]
    return join(*parts, _quantiles(measured, places))


def note_contexts(measured: Measured) -> str:
    """A remark on the contexts of generated rows, if there are any."""
    return "; each generated row has the context of a real one" if measured.subject.context_size else ""


def _shown(measured: Measured) -> list[int]:
    """The columns with figures: all, or those with the greatest distances."""
    order = sorted(range(len(measured.columns)), key=lambda place: -measured.calibrations[place].distance)
    return sorted(order[:SHOWN])


def _cut(measured: Measured) -> Html:
    count = len(measured.columns)
    if count <= SHOWN:
        return Html()
    return paragraphs(f"Of {count} columns, the {SHOWN} are shown whose real and generated values differ most.")


def _pairs(measured: Measured, real: np.ndarray, made: np.ndarray) -> list[Html]:
    names, places = measured.columns, most_dependent(real, PAIRED)
    said = (
        f"Of {len(names)} columns, the {len(places)} with the greatest dependence are shown: "
        f"{', '.join(names[place] for place in places)}. "
        if len(names) > len(places)
        else ""
    )
    look = "Each point is a row." if len(real) < FEW_POINTS else "Darker is denser."
    drawn = []
    for first, second in combinations(places, 2):
        pair = [first, second]
        sides = [_correlation(rows[:, pair]) for rows in (real, made)]
        drawn.append(
            figure(
                pair_densities(real[:, pair], made[:, pair], [names[place] for place in pair]),
                f"Joint densities of {names[first]} and {names[second]}; rank correlation {sides[0]:.2f} for real and "
                f"{sides[1]:.2f} for generated rows",
                f"Rank correlation: real {nats(sides[0], 2)}, generated {nats(sides[1], 2)}",
            )
        )
    return [paragraphs(f"{said}{look} Both sides share one scale."), figures(drawn)]


def _correlation(pair: np.ndarray) -> float:
    """The rank correlation of two columns, by Spearman."""
    return float(scipy.stats.spearmanr(pair).statistic)


def _quantiles(measured: Measured, places: Sequence[int]) -> Html:
    real, made = measured.real, measured.generated[: len(measured.real)]
    rows = []
    for place in places:
        spread = float(real[:, place].std())
        for side, values in (("real", real[:, place]), ("generated", made[:, place])):
            measures = [values.mean(), values.std(), *np.quantile(values, list(QUANTILES.values()))]
            rows.append((measured.columns[place], side, *numbers_like(map(float, measures), spread)))
    caption = f"Quantiles of {len(real):,} real test rows and as many generated rows"
    heads = ["column", "rows", "mean", "std. deviation", *QUANTILES]
    return join(element("h3", "Quantiles"), table(caption, heads, rows, words=[1]))


def compare_ranks(measured: Measured) -> Html:
    """The PIT histograms, the tails and the distance of each column."""
    chosen = [measured.calibrations[place] for place in _shown(measured)]
    drawn = [
        figure(
            pit_histogram(each.pit, each.low, each.high, each.column),
            f"PIT histogram of {each.column}: the ratios are between {each.pit.min() * len(each.pit):.2f} and "
            f"{each.pit.max() * len(each.pit):.2f}; the band is {each.low * len(each.pit):.2f} to "
            f"{each.high * len(each.pit):.2f}",
        )
        for each in chosen
    ]
    return join(
        paragraphs(
            f"Each real test value has a rank among {len(measured.generated):,} generated values. If the flow is "
            "right, every bin of ranks holds the same share of real values, a ratio of 1. The ratio is then in the "
            f"grey band in {percent(BAND, 0)} of cases. A hump in the middle means that generated values spread too "
            "widely, a valley that they spread too little, and a slope that they are shifted."
        ),
        _cut(measured),
        figures(drawn),
        element("h3", "Tails"),
        paragraphs(
            "A share above its band (▲) means that generated values reach too little into this tail. A share below "
            "it (▼) means that they reach too far. One share in a hundred is outside by chance."
        ),
        _tails(chosen),
        element("h3", "Distance and range"),
        _distances(measured),
    )


def _tails(chosen: Sequence[Calibration]) -> Html:
    first = chosen[0].tails
    rows: list[list[object]] = [
        ["expected", *(percent(tail.expected) for tail in first)],
        ["band", *(f"{percent(tail.low)} to {percent(tail.high)}" for tail in first)],
    ]
    for each in chosen:
        signs = ("▲" if tail.share > tail.high else "▼" if tail.share < tail.low else "" for tail in each.tails)
        rows.append([each.column, *map(_marked, (percent(tail.share) for tail in each.tails), signs)])
    heads = [f"{'below' if level < 0.5 else 'above'} {100 * level:g} %" for level in TAILS]
    return table("Share of real test rows beyond quantiles of the generated rows", ["column", *heads], rows)


def _distances(measured: Measured) -> Html:
    rows = []
    for place in _shown(measured):
        each, (share, is_surprising) = measured.calibrations[place], measured.outside[place]
        distance = _marked(f"{each.distance:.3f}", "▲" if each.is_far else "")
        rows.append((each.column, distance, _marked(percent(share), "▲" if is_surprising else "")))
    heads = ["column", "distance of real and generated (KS)", "generated outside the range of training"]
    return table("Distance of distributions, and generated values beyond all training values", heads, rows)


def _marked(said: str, sign: str) -> object:
    """A cell with a sign for a value that is outside its band."""
    return element("span", f"{said} {sign}", class_="out") if sign else said
