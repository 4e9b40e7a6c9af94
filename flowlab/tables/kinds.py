"""The kinds of columns: which values a column may hold, and how they become a coordinate and a value again.

A column goes through three forms. A table has values of any type. They become numbers in float64, which are codes of
categories for text. Points, the coordinate that a flow learns, lie in an open interval. See Column for values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np

EPS, TINY = float(np.finfo(np.float32).eps), float(np.finfo(np.float32).tiny)

KINDS: dict[str, type[Kind]] = {}


@dataclass(frozen=True)
class Kind:
    """A kind of column; the base class holds the behaviour of a real number.

    Attributes:
        name, arguments: how a user writes the kind, as bounded and LOW:HIGH.
        discrete: a point is a whole number plus noise between 0 and 1, so a unit of length holds one value.
        coordinate: a flow can learn the density of such a column; otherwise it is a condition alone.
    """

    name: ClassVar[str] = "real"
    arguments: ClassVar[str] = ""
    discrete: ClassVar[bool] = False
    coordinate: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):
            KINDS[cls.name] = cls

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Self:
        """The kind with the arguments that a user writes after its name; a ValueError if they do not fit."""
        if arguments:
            raise ValueError("takes no arguments")
        return cls()

    @property
    def words(self) -> str:
        """The kind as a user writes it."""
        return self.name

    @property
    def allowed(self) -> str:
        """The values that such a column may hold, in words."""
        return "finite numbers"

    @property
    def categories(self) -> Sequence[Any] | None:
        """The values whose places are the numbers of the column; None if its values are numbers themselves."""
        return None

    @property
    def domain(self) -> tuple[float, float]:
        """The open interval of the points."""
        return -math.inf, math.inf

    def fit(self, numbers: np.ndarray) -> Self:
        """The kind, adapted to the numbers of the training rows."""
        return self

    def accepts(self, numbers: np.ndarray) -> np.ndarray:
        """Whether a column may hold each number, of shape (n,)."""
        return np.isfinite(numbers)

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """Whether a generated column may hold each number."""
        return self.accepts(numbers)

    def to_points(self, numbers: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Points of accepted numbers; `noise`, between 0 and 1, is for discrete kinds."""
        return self._move_inside(numbers)

    def to_numbers(self, points: np.ndarray) -> np.ndarray:
        """The numbers of points."""
        return points

    def to_condition(self, numbers: np.ndarray) -> np.ndarray | None:
        """Fixed features of a condition, of shape (n, c); None if its standardized coordinate is the feature."""
        return None

    def _move_inside(self, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Points inside of the open interval, by a margin that rounding to float32 does not use up."""
        low, high = self.domain
        first = low + max(margin, 4 * abs(low) * EPS, TINY) if low > -math.inf else low
        last = high - max(margin, 4 * abs(high) * EPS, TINY) if high < math.inf else high
        return np.clip(points, first, last)

    def to_dict(self) -> dict[str, Any]:
        """The kind as plain data; an infinite number is None."""
        return {"kind": self.name} | {key: _finite_or_none(value) for key, value in asdict(self).items()}


KINDS[Kind.name] = Kind


def _finite_or_none(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and math.isinf(value) else value
