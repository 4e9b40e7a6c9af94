"""Guess the kind of a column from its values."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas

from flowlab.tables.column import CATEGORY, TEXT, type_name
from flowlab.tables.discrete import Boolean, Categorical, Integer
from flowlab.tables.intervals import Bounded, Positive
from flowlab.tables.kinds import Kind

FEW = 20  # whole numbers that follow one another: a scale with two ends
LARGEST = 2**31  # whole numbers beyond it are measurements, or identify rows
USUAL = 0.01  # the part of the rows that holds the last value of a scale; counts end in a tail
HALF = 0.5  # a share reaches it; smaller positive numbers may be anything


class Guess(NamedTuple):
    """A kind, and why."""

    kind: Kind
    why: str


def guess_kind(values: pandas.Series) -> Guess | None:
    """The kind of a coordinate; None for text, whose density is not learned.

    Arguments:
        values: the column, without missing values.

    Example:
        >>> import pandas
        >>> from flowlab.tables.guess import guess_kind
        >>> guess_kind(pandas.Series([0, 3, 70, 2])).kind.words
        'integer:0:inf'
    """
    dtype = type_name(values)
    if dtype in (TEXT, CATEGORY):
        return None
    if dtype == "bool":
        return Guess(Boolean(), "true and false")
    numbers = values.to_numpy(dtype=np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    if (numbers == np.round(numbers)).all() and max(abs(low), abs(high)) < LARGEST:
        if 0 < high - low < FEW and (numbers == high).mean() >= USUAL:
            return Guess(Integer(low, high), f"whole numbers, many of them {high:.0f}")
        if low >= 0:
            return Guess(Integer(0.0, math.inf), "whole numbers from 0")
        return Guess(Integer(), "whole numbers")
    if low >= 0 and HALF < high <= 1:
        return Guess(Bounded(0.0, 1.0), "numbers between 0 and 1")
    if low > 0:
        return Guess(Positive(), "numbers above 0")
    if low == 0:
        return Guess(Bounded(0.0, math.inf), "numbers from 0")
    return Guess(Kind(), "numbers of both signs")


def guess_condition(values: pandas.Series) -> Guess:
    """The kind of a condition: categorical for text, boolean, or a number.

    Arguments:
        values: the column, without missing values.
    """
    dtype = type_name(values)
    if dtype in (TEXT, CATEGORY):
        return Guess(Categorical(), "text")
    return Guess(Boolean(), "true and false") if dtype == "bool" else Guess(Kind(), "numbers")
