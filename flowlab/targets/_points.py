"""Read points from a CSV, NPY or Parquet file, and say why a file cannot be used."""

from __future__ import annotations

import io
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from flowlab.config.errors import DataError

# The content that a file must have, by its suffix.
NEEDED = {
    ".csv": "UTF-8 text, a line for each point, with as many numbers as there are columns, separated by commas",
    ".npy": "one array of numbers of shape (n, dim), as written by numpy.save",
    ".parquet": "a table of numbers, as written by pandas.DataFrame.to_parquet",
}
GZIP = b"\x1f\x8b"
NPY = b"\x93NUMPY"
SHOWN = 60  # characters of a value in a message


def read_points(path: Path, columns: Sequence[str] | None = None) -> tuple[list[str], np.ndarray, bytes]:
    """Read a file once.

    Gives the names of the columns in the given order, the rows, of shape (n, dim) in float64, and the bytes.

    Raises:
        DataError: the file is missing, unreadable or of another kind, a column is unknown or holds text, or a row holds
            NaN or infinity.
    """
    suffix = path.suffix.lower()
    if suffix not in NEEDED:
        raise DataError(f"{path}: files with the ending {path.suffix!r} cannot be read; allowed: {', '.join(NEEDED)}")
    try:
        if not path.is_file():  # a pipe or a device may be endless
            state = "is a directory" if path.is_dir() else "is not a file" if path.exists() else "no such file"
            raise DataError(f"{path}: {state}; target.path must be a file, relative to the working directory")
        content = path.read_bytes()
        table = _select(_table_of(path, suffix, content), columns, path)
    except DataError:
        raise
    except ImportError:
        raise DataError(
            f"{path}: reading Parquet needs pyarrow; in a clone of flowlab, run pip install '.[parquet]'"
        ) from None
    except Exception as error:  # whatever a reader raises on a damaged file
        reason = str(error).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path}: cannot be read: {reason}; needed: {NEEDED[suffix]}") from None
    return [str(name) for name in table.columns], _numbers(table, path), content


def _table_of(path: Path, suffix: str, content: bytes) -> pandas.DataFrame:
    if suffix == ".csv":
        return _read_csv(path, content)
    if suffix == ".npy":
        if not content.startswith(NPY):
            raise ValueError(f"it does not begin with {NPY!r}")
        return _table(np.load(io.BytesIO(content), allow_pickle=False), path)
    return pandas.read_parquet(io.BytesIO(content))


def _read_csv(path: Path, content: bytes) -> pandas.DataFrame:
    if content.startswith(GZIP):
        raise DataError(f"{path}: is compressed by gzip; unpack it first")
    if b"\0" in content[: 1 << 16]:
        raise DataError(f"{path}: holds NUL bytes, as UTF-16 text and binary files do; save it as UTF-8")
    options: dict[str, Any] = {"skipinitialspace": True, "index_col": False}
    first: dict[str, Any] = {"header": None, "dtype": str, "keep_default_na": False, **options}
    cells = [str(cell) for cell in pandas.read_csv(io.BytesIO(content), nrows=1, **first).iloc[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)  # rows longer than the header
        if all(_is_number(cell) for cell in cells):
            names = _names(len(cells))
            return pandas.read_csv(io.BytesIO(content), header=None, names=names, low_memory=False, **options)
        rows = pandas.read_csv(io.BytesIO(content), nrows=2, **first)[0]
        separators = [mark for mark in (";", "\t", "|", " ") if rows.str.contains(mark, regex=False).all()]
        if len(cells) == 1 and separators:
            raise DataError(f"{path}: the columns are separated by {separators[0]!r}; save the file with commas")
        if "" in cells:
            place = cells.index("") + 1
            raise DataError(f"{path}: column {place} has no name; if it holds row numbers, save the file without them")
        if len(set(cells)) < len(cells):
            twice = next(cell for cell, count in Counter(cells).items() if count > 1)
            raise DataError(f"{path}: two columns have the name {twice!r}; rename one")
        return pandas.read_csv(io.BytesIO(content), low_memory=False, **options)


def _names(count: int) -> list[str]:
    return [f"x{number + 1}" for number in range(count)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _can_be_number(value: Any) -> bool:
    """Whether an entry of a mixed column is missing or can be read as a number."""
    if pandas.api.types.is_scalar(value) and pandas.isna(value):
        return True
    try:
        return isinstance(value, int | float | Decimal | str) and math.isfinite(float(value)) and "_" not in str(value)
    except (ValueError, OverflowError):  # an OverflowError: an integer of hundreds of digits
        return False


def _table(array: np.ndarray, path: Path) -> pandas.DataFrame:
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(
            f"{path}: holds an array of shape {array.shape} and type {array.dtype}; needed: numbers of shape (n, dim)"
        )
    return pandas.DataFrame(array, columns=_names(array.shape[1]))


def _select(table: pandas.DataFrame, columns: Sequence[str] | None, path: Path) -> pandas.DataFrame:
    table.columns = [str(name) for name in table.columns]
    if columns is None:
        columns = list(table.columns)
    if not columns:
        raise DataError(f"{path}: no columns to use; the file has: {', '.join(table.columns) or 'none'}")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: target.columns={list(columns)} names a column twice")
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
        raise DataError(f"{path}: no column {', '.join(map(repr, unknown))}; the file has: {', '.join(table.columns)}")
    return table[list(columns)]


def _numbers(table: pandas.DataFrame, path: Path) -> np.ndarray:
    if table.empty:
        raise DataError(f"{path}: 0 rows; at least 6 are needed, or smaller target.validation and target.test")
    for name in table.columns:
        if not pandas.api.types.is_numeric_dtype(table[name]):
            wrong = np.array([not _can_be_number(value) for value in table[name]])
            if wrong.any():
                row = int(wrong.argmax())
                raise DataError(
                    f"{path}: column {name[:SHOWN]!r} holds {repr(table[name].iloc[row])[:SHOWN]} in row {row + 1}, "
                    "which is not a number; choose other columns with target.columns"
                )
            table = table.assign(**{name: [np.nan if pandas.isna(value) else float(value) for value in table[name]]})
    with np.errstate(over="ignore"):  # infinities are reported below
        values = table.to_numpy(dtype=np.float64, copy=True)
    bad_rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad_rows):
        column = table.columns[int(np.flatnonzero(~np.isfinite(values[bad_rows[0]]))[0])]
        raise DataError(
            f"{path}: {len(bad_rows)} row(s) hold NaN, infinity or nothing, the first in row {bad_rows[0] + 1}, column "
            f"{column!r}; remove or fill them first"
        )
    return values
