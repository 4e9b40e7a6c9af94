"""Kinds of columns with separate values: integer, boolean, ordinal and categorical."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from flowlab.tables.intervals import MARGIN, Interval
from flowlab.tables.kinds import Kind


@dataclass(frozen=True)
class Integer(Interval):
    """Whole numbers from low to high, where an end may be infinite."""

    name = "integer"
    arguments = "LOW:HIGH, or nothing"
    discrete = True

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        kind = super().parse(arguments) if arguments else cls()
        if any(math.isfinite(end) and end != round(end) for end in (kind.low, kind.high)):
            raise ValueError("LOW and HIGH must be whole numbers")
        return kind

    @property
    def words(self) -> str:
        return super().words if self.low > -math.inf or self.high < math.inf else self.name

    @property
    def allowed(self) -> str:
        return f"whole {super().allowed}" if self.words != self.name else "whole numbers"

    @property
    def domain(self) -> tuple[float, float]:
        return self.low, self.high + 1

    def accepts(self, numbers: np.ndarray) -> np.ndarray:
        return super().accepts(numbers) & (numbers == np.round(numbers))

    def to_points(self, numbers: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return self._move_inside(numbers + noise, MARGIN)

    def to_numbers(self, points: np.ndarray) -> np.ndarray:
        return np.clip(np.floor(points), self.low, self.high)


@dataclass(frozen=True)
class Boolean(Integer):
    """True or false; the numbers are 1 and 0."""

    name = "boolean"
    arguments = ""
    low: float = 0
    high: float = 1

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        if arguments:
            raise ValueError("takes no arguments")
        return cls()

    @property
    def words(self) -> str:
        return self.name

    @property
    def allowed(self) -> str:
        return "true and false, or 1 and 0"


@dataclass(frozen=True)
class Categories(Kind):
    """Values of a finite set; the numbers are their places in it."""

    arguments = "A:B:C, or nothing for the sorted values of the file"
    values: tuple[Any, ...] = ()

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        if len(arguments) == 1:
            raise ValueError("needs at least two values")
        if len(set(arguments)) < len(arguments):
            raise ValueError("names a value twice")
        return cls(tuple(arguments))

    @property
    def words(self) -> str:
        return ":".join([self.name, *map(str, self.values)])

    @property
    def allowed(self) -> str:
        return ", ".join(map(str, self.values))

    @property
    def categories(self) -> Sequence[Any]:
        return self.values

    def accepts(self, numbers: np.ndarray) -> np.ndarray:
        return np.isfinite(numbers) & (numbers >= 0) & (numbers < len(self.values)) & (numbers == np.round(numbers))


@dataclass(frozen=True)
class Ordinal(Categories):
    """Values in an order, such as low, middle and high."""

    name = "ordinal"
    discrete = True

    @property
    def domain(self) -> tuple[float, float]:
        return 0.0, float(len(self.values))

    to_points = Integer.to_points

    def to_numbers(self, points: np.ndarray) -> np.ndarray:
        return np.clip(np.floor(points), 0, len(self.values) - 1)


@dataclass(frozen=True)
class Categorical(Categories):
    """Values without an order, as a condition: one coordinate for each, of which one is 1 and the others 0."""

    name = "categorical"
    coordinate = False

    def to_condition(self, numbers: np.ndarray) -> np.ndarray:
        return (numbers[:, None] == np.arange(len(self.values))).astype(np.float64)
