"""Ranks of real rows among generated ones: PIT histograms, tails, and the distance of distributions.

A real value has a rank among G generated ones. If both come from one distribution, it is each of 0, ..., G with equal
probability. The number of n real values in a group of m ranks is then exactly BetaBinomial(n, m, G + 1 - m). The bands
here are its quantiles. They hold for the finite number of generated rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats

BAND = 0.99  # the probability of a band
ALARM = 1e-3  # the probability of a warning about a perfect flow, for all columns together
TAILS = (0.001, 0.01, 0.99, 0.999)  # probabilities of generated rows
LEAST_DISTANCE = 0.02  # a smaller distance of distribution functions is no reason for a warning


@dataclass(frozen=True)
class Tail:
    """The share of real rows beyond a quantile of generated rows.

    Attributes:
        level: the probability of the quantile; below 0.5 the rows below it are counted.
        share: the share of the real rows.
        low, high: the band of the share for a perfect flow.
        is_alarming: whether the share would be a surprise even as the worst of all columns.
    """

    level: float
    share: float
    low: float
    high: float
    is_alarming: bool

    @property
    def expected(self) -> float:
        """The share that is expected."""
        return min(self.level, 1 - self.level)


@dataclass(frozen=True)
class Calibration:
    """One column of real rows against generated rows.

    Attributes:
        column: its name.
        pit: the shares of real rows in bins of equal probability of generated rows, of shape (bins,).
        low, high: the band of each share for a perfect flow.
        tails: see TAILS.
        distance: the largest difference of the two distribution functions (Kolmogorov-Smirnov).
        is_far: whether the distance is large, and a surprise even as the worst of all columns.
    """

    column: str
    pit: np.ndarray
    low: float
    high: float
    tails: list[Tail]
    distance: float
    is_far: bool


def calibrate(
    column: str, real: np.ndarray, generated: np.ndarray, columns: int, draws: np.random.Generator
) -> Calibration:
    """Compare a column of real rows, of shape (n,), with one of generated rows, of shape (G,).

    Arguments:
        column: its name.
        real, generated: the values.
        columns: the number of all columns, for the probability of an alarm.
        draws: random numbers that order equal values.
    """
    count, groups = len(real), len(generated) + 1
    ranks = rank(real, generated, draws)
    bins = 20 if count >= 400 else 10 if count >= 60 else 5
    pit = np.bincount(ranks * bins // groups, minlength=bins) / count
    low, high = band(count, groups // bins, groups, BAND)
    tails = []
    for level in TAILS:
        part = max(1, round(min(level, 1 - level) * groups))
        beyond = int((ranks < part).sum() if level < 0.5 else (ranks >= groups - part).sum())
        least, most = band(count, part, groups, BAND)
        floor, ceiling = band(count, part, groups, 1 - ALARM / (columns * len(TAILS)))
        tails.append(Tail(level, beyond / count, least, most, not floor <= beyond / count <= ceiling))
    distance, chance = ks(real, generated)
    is_far = distance > LEAST_DISTANCE and chance < ALARM / columns
    return Calibration(column, pit, low, high, tails, distance, is_far)


def rank(real: np.ndarray, generated: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """The number of generated values below each real value, from 0 to G; equal values are ordered at random."""
    ordered = np.sort(generated)
    first = np.searchsorted(ordered, real, "left")
    equal = np.searchsorted(ordered, real, "right") - first
    return first + np.floor(draws.random(len(real)) * (equal + 1)).astype(int)


def band(count: int, part: int, groups: int, probability: float) -> tuple[float, float]:
    """The band of the share of `count` ranks that are in `part` of `groups` equally likely ones."""
    edge = (1 - probability) / 2
    law = scipy.stats.betabinom(count, part, groups - part)
    low, high = law.ppf([edge, 1 - edge])
    return float(low) / count, float(high) / count


def ks(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The largest difference of two empirical distribution functions, and its probability if they are one."""
    found = scipy.stats.ks_2samp(first, second, method="asymp")
    return float(found.statistic), float(found.pvalue)


def share_outside(generated: np.ndarray, train: np.ndarray, columns: int) -> tuple[float, bool]:
    """The share of generated values outside the range of training values, and whether it is a surprise."""
    outside = int(((generated < train.min()) | (generated > train.max())).sum())
    law = scipy.stats.betabinom(len(generated), 2, max(1, len(train) - 1))
    return outside / len(generated), bool(law.sf(outside - 1) < ALARM / columns)
