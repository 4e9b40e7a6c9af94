"""The values of a table as numbers and text, without missing ones, or why they cannot be used."""

from __future__ import annotations

import math
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas

from flowlab.config.errors import DataError
from flowlab.targets._columns import Table
from flowlab.targets._dialect import Dialect, number_remedy
from flowlab.targets._text import SHOWN

EXACT = 2**53  # float64 holds every whole number up to it


class Rows(NamedTuple):
    """The rows of a table that are used.

    Attributes:
        frame: their values: numbers with the type that they have in the file, float64 where that is text; and texts.
        places: the place of each row in the file, of shape (n,).
        said: how many rows were left out, in words; "" if none were.
    """

    frame: pandas.DataFrame
    places: np.ndarray
    said: str


def clean_rows(table: pandas.DataFrame, path: Path, dialect: Dialect, texts: Collection[str], drop: bool) -> Rows:
    """The rows of a table without missing values.

    Arguments:
        table: a file's columns.
        path: names the file in messages.
        dialect: how the file writes numbers.
        texts: the columns that may hold anything; all others must hold finite numbers.
        drop: leave out rows with missing values, instead of refusing them.

    Raises:
        DataError: a value is missing, text, NaN or infinite, or a whole number that float64 rounds; or there are fewer
            rows than columns.
    """
    places, said = np.arange(len(table)), ""
    if drop:
        table, places, said = drop_missing(table, path)
    check_present(table[[name for name in table.columns if name in texts]], path)
    names = [name for name in table.columns if name not in texts]
    if names:
        values = read_numbers(table[names], path, dialect)
        written = {
            name: values[:, place]
            for place, name in enumerate(names)
            if not pandas.api.types.is_numeric_dtype(table[name])
        }
        table = table.assign(**written)
    return Rows(table, places, said)


def holds_text(values: pandas.Series, dialect: Dialect) -> bool:
    """Whether a column holds a value that is neither a number nor missing."""
    if pandas.api.types.is_numeric_dtype(values):
        return False
    return any(_as_number(value, dialect) is None for value in values)


def drop_missing(table: pandas.DataFrame, path: Path) -> tuple[pandas.DataFrame, np.ndarray, str]:
    """The rows of a table without missing values, their places, and how many rows were left out, in words.

    A column of truth values is one of bool again.

    Raises:
        DataError: no row is left.
    """
    missing = table.isna()
    bad = missing.any(axis=1).to_numpy()
    if bad.all():
        raise DataError(f"{path}: every row lacks a value: {_count_missing(missing)}; choose other columns")
    said = f"{path}: {bad.sum()} of {len(bad)} rows lack a value and are left out: {_count_missing(missing)}"
    return table[~bad].reset_index(drop=True).infer_objects(), np.flatnonzero(~bad), said if bad.any() else ""


def _count_missing(missing: pandas.DataFrame) -> str:
    counts = missing.sum()
    return ", ".join(f"{count} in {str(name)[:SHOWN]!r}" for name, count in counts[counts > 0].items())


def check_present(table: pandas.DataFrame, path: Path) -> None:
    """Raise DataError if a value is missing, with the count for each column."""
    missing = table.isna()
    if missing.to_numpy().any():
        bad = np.flatnonzero(missing.any(axis=1))
        raise DataError(
            f"{path}: {len(bad)} row(s) hold NaN, infinity or nothing, the first in row {bad[0] + 1}: "
            f"{_count_missing(missing)}; remove or fill them first, or leave them out with target.missing=drop"
        )


def read_numbers(table: pandas.DataFrame, path: Path, dialect: Dialect) -> np.ndarray:
    """The values of a table of numbers, of shape (n, dim) in float64.

    Raises:
        DataError: a value is text, NaN, infinite, or a whole number that float64 rounds; or there are fewer rows than
            columns.
    """
    written = table
    for name in table.columns:
        if not pandas.api.types.is_numeric_dtype(table[name]):
            numbers = [_as_number(value, dialect) for value in table[name]]
            if None in numbers:
                row = numbers.index(None)
                wrong = table[name].iloc[row]
                raise DataError(
                    f"{path}: column {name[:SHOWN]!r} holds {repr(wrong)[:SHOWN]} in row {row + 1}, which is not a "
                    f"number; {number_remedy(wrong) if isinstance(wrong, str) else ''}choose other columns with "
                    f"target.columns, or condition on it with target.context=[{name[:SHOWN]}]"
                )
            table = table.assign(**{name: numbers})
    with np.errstate(over="ignore"):  # infinities are reported below
        values = table.to_numpy(dtype=np.float64, copy=True)
    Table(str(path), list(table.columns), " with target.columns").check_rows(len(values))
    bad_rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad_rows):
        column = table.columns[int(np.flatnonzero(~np.isfinite(values[bad_rows[0]]))[0])]
        full = [name for name, empty in zip(table.columns, np.isnan(values).all(axis=0), strict=True) if not empty]
        remedy = f", or where a column is empty; choose the others with target.columns=[{','.join(full)}]"
        missing = np.isnan(values)
        drop = f" ({_count_missing(pandas.DataFrame(missing, columns=table.columns))}), or add target.missing=drop"
        raise DataError(
            f"{path}: {len(bad_rows)} row(s) hold NaN, infinity or nothing, the first in row {bad_rows[0] + 1}, column "
            f"{column!r}; remove or fill them first{drop if missing.any() else ''}"
            + (remedy if len(full) < values.shape[1] else "")
        )
    for name, numbers in zip(table.columns, values.T, strict=True):
        if np.abs(numbers).max() > EXACT and written[name].nunique() > len(np.unique(numbers)):
            raise DataError(
                f"{path}: column {name!r} holds whole numbers beyond 2^53, such as {written[name].iloc[0]}, and "
                "float64 rounds some to the same; leave it out with target.columns if they identify rows, or subtract "
                "an offset"
            )
    return values


def _as_number(value: Any, dialect: Dialect) -> float | None:
    """An entry of a mixed column: NaN if it is missing, None if it is not a finite number."""
    if pandas.api.types.is_scalar(value) and pandas.isna(value):
        return math.nan
    try:
        number = dialect.parse(value) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, OverflowError):  # an OverflowError: an integer of hundreds of digits
        return None
    return number if isinstance(value, int | float | Decimal | str) and math.isfinite(number) else None
