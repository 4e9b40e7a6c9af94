"""Kinds of columns with numbers in an interval: positive, bounded and circular."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from flowlab.tables.kinds import Kind

MARGIN = 1e-6  # share of an interval's width by which a value at its end is moved inside, where its density is finite
PLACES = 64  # in a turn, of which the emptiest three become the cut of a circle


@dataclass(frozen=True)
class Positive(Kind):
    """Numbers above 0; the density is learned in their logarithm."""

    name = "positive"

    @property
    def domain(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def allowed(self) -> str:
        return "numbers above 0"

    def accepts(self, numbers: np.ndarray) -> np.ndarray:
        return np.isfinite(numbers) & (numbers > 0)


@dataclass(frozen=True)
class Interval(Kind):
    """Numbers from low to high, ends included."""

    arguments = "LOW:HIGH"
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        low, high = (float(text) for text in arguments)
        if not low < high or low == math.inf or high == -math.inf:
            raise ValueError("LOW must be below HIGH")
        return cls(low, high)

    @property
    def words(self) -> str:
        return f"{self.name}:{self.low:.15g}:{self.high:.15g}"

    @property
    def allowed(self) -> str:
        return f"numbers from {self.low:.15g} to {self.high:.15g}"

    @property
    def domain(self) -> tuple[float, float]:
        return self.low, self.high

    def accepts(self, numbers: np.ndarray) -> np.ndarray:
        return np.isfinite(numbers) & (numbers >= self.low) & (numbers <= self.high)


@dataclass(frozen=True)
class Bounded(Interval):
    """Numbers from low to high, ends included, of which one may be infinite.

    A value at an end has no finite image on the real line. It is moved inside by a margin, and back when it is decoded.
    """

    name = "bounded"
    margin: float = 0.0

    def fit(self, numbers: np.ndarray) -> Self:
        if math.isfinite(self.low) and math.isfinite(self.high):
            margin = MARGIN * (self.high - self.low)
        else:  # on a half-line the smallest distance from the end says where the data are
            distance = numbers - self.low if math.isfinite(self.low) else self.high - numbers
            distance = distance[np.isfinite(distance) & (distance > 0)]
            margin = max(distance.min() / 2, MARGIN * float(np.median(distance))) if len(distance) else MARGIN
        return type(self)(self.low, self.high, float(margin))

    def to_points(self, numbers: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return self._move_inside(numbers, self.margin)

    def to_numbers(self, points: np.ndarray) -> np.ndarray:
        low, high = self._move_inside(np.array([-math.inf, math.inf]), self.margin)
        numbers = np.where(points <= low + 1e-3 * self.margin, self.low, points)
        return np.where(points >= high - 1e-3 * self.margin, self.high, numbers)


@dataclass(frozen=True)
class Circular(Interval):
    """Angles, hours and other numbers with a period, from low to high, where high is low again.

    The circle is cut at the emptiest place of the training rows and unrolled to [cut, cut + period). There the density
    is learned as for a bounded column, so it may differ on both sides of the cut.
    """

    name = "circular"
    cut: float | None = None

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        kind = super().parse(arguments)
        if not math.isfinite(kind.high - kind.low):
            raise ValueError("LOW and HIGH must be finite")
        return kind

    @property
    def allowed(self) -> str:
        return f"{super().allowed}, the period"

    @property
    def domain(self) -> tuple[float, float]:
        start = self.low if self.cut is None else self.cut
        return start, start + self.period

    @property
    def period(self) -> float:
        return self.high - self.low

    def fit(self, numbers: np.ndarray) -> Self:
        turn = ((numbers - self.low) / self.period) % 1.0
        counts = np.histogram(turn, bins=PLACES, range=(0.0, 1.0))[0]
        around = counts + np.roll(counts, 1) + np.roll(counts, -1)
        emptiest = np.flatnonzero(around == around.min())
        # The middle of the longest row of equally empty places, which may go through the end of the turn.
        runs = np.split(emptiest, np.flatnonzero(np.diff(emptiest) > 1) + 1)
        if len(runs) > 1 and runs[0][0] == 0 and runs[-1][-1] == PLACES - 1:
            runs[0] = np.concatenate([runs.pop(), runs[0] + PLACES])
        longest = max(runs, key=len)
        place = (longest[0] + longest[-1] + 1) / 2 % PLACES
        return type(self)(self.low, self.high, self.low + self.period * place / PLACES)

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        return self.accepts(numbers) & (numbers < self.high)

    def to_points(self, numbers: np.ndarray, noise: np.ndarray) -> np.ndarray:
        start = self.domain[0]
        return self._move_inside(start + (numbers - start) % self.period, MARGIN * self.period)

    def to_numbers(self, points: np.ndarray) -> np.ndarray:
        numbers = self.low + (points - self.low) % self.period
        return np.where(numbers < self.high, numbers, self.low)

    def to_condition(self, numbers: np.ndarray) -> np.ndarray:
        angle = 2 * math.pi * (numbers - self.low) / self.period
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
