"""A target given by points in a file of the user's: CSV, NPY or Parquet."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
import torch
from torch import Tensor

from flowlab.schemas import ConfigError
from flowlab.seeding import generator
from flowlab.targets.base import SPLITS, Target

SUFFIXES = (".csv", ".npy", ".parquet")


class DataError(ConfigError):
    """A data file that cannot be used, with the reason and the remedy."""


class FileTarget(Target):
    """Points from a file, split once by a seed into train, validation and test.

    A CSV whose first line holds numbers alone is read as having no header; its columns are then x1, x2 ... An NPY file
    holds one array of shape (n, dim). Rows are taken as they are: nothing is dropped or filled in.

    Arguments:
        path: the file; its ending says what it is.
        columns: names of the columns to use, in this order; None uses all.
        validation, test: the fractions of the rows held out for each, between 0 and 1 and together below 1.
        split_seed: which random split.

    Attributes:
        mean, deviation: of the training rows, each of shape (dim,) in float64.
        sha256: of the file, so that a resumed run can tell whether it changed.

    Raises:
        DataError: the file is missing, unreadable or of another kind, a column is unknown, holds text or does not vary,
            a row holds NaN or infinity, or there are too few rows.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Sequence[str] | None = None,
        validation: float = 0.15,
        test: float = 0.15,
        split_seed: int = 0,
    ) -> None:
        self.path = Path(path)
        table = _select(_read(self.path), columns, self.path)
        values = _numbers(table, self.path)
        self._columns = [str(name) for name in table.columns]
        self.dim = values.shape[1]
        with open(self.path, "rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

        rows = len(values)
        held_out = {"validation": max(2, round(validation * rows)), "test": max(2, round(test * rows))}
        self.train_size = rows - sum(held_out.values())
        if self.train_size < 2:
            raise DataError(
                f"{self.path}: of {rows} row(s) {max(self.train_size, 0)} are left to train on, with "
                f"{held_out['validation']} for validation and {held_out['test']} for testing; at least 6 rows are "
                "needed, or smaller target.validation and target.test"
            )
        order = torch.randperm(rows, generator=generator(split_seed, "split"))
        sizes = [self.train_size, held_out["validation"], held_out["test"]]
        self._splits = dict(zip(SPLITS, torch.from_numpy(values)[order].split(sizes), strict=True))

        train = self._splits["train"]
        self.mean, self.deviation = train.mean(0), train.std(0)
        constant = [name for name, spread in zip(self._columns, self.deviation, strict=True) if not spread > 0]
        if constant:
            raise DataError(
                f"{self.path}: {_some(constant)} the same value in every training row, so the density is infinite "
                f"there; leave out with target.columns"
            )
        low, high = np.quantile(train.numpy(), [0.005, 0.995], axis=0)
        margin = 0.15 * np.maximum(high - low, 1e-12)
        self.bounds = tuple((float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True))

    def check_precision(self, dtype: torch.dtype) -> None:
        """Refuse a type of numbers that cannot tell the values of a column apart.

        Raises:
            DataError: the rounding of the largest value is more than a thousandth of the standard deviation.
        """
        largest = torch.cat(list(self._splits.values())).abs().max(0).values
        for name, size, spread in zip(self._columns, largest.tolist(), self.deviation.tolist(), strict=True):
            if size * torch.finfo(dtype).eps > 1e-3 * spread:
                remedy = "use dtype=float64" if dtype == torch.float32 else "subtract an offset first"
                raise DataError(
                    f"{self.path}: column {name!r} reaches {size:.4g} but varies by {spread:.4g} only, which "
                    f"{str(dtype).removeprefix('torch.')} rounds away; {remedy}"
                )

    @property
    def columns(self) -> list[str]:
        return self._columns

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """All the rows of a split, whatever `count`: data that the user gave are never thinned out."""
        return self._splits[split].to(dtype)


def _read(path: Path) -> pandas.DataFrame:
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: cannot tell what the ending {path.suffix!r} is; allowed: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}")
    try:
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
        if path.suffix.lower() == ".npy":
            return _table(np.load(path, allow_pickle=False), path)
        return pandas.read_parquet(path)
    except DataError:
        raise
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow; install flowlab[parquet]") from None
    except Exception as error:  # whatever a reader raises on a damaged file
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _read_csv(path: Path) -> pandas.DataFrame:
    cells = [str(cell) for cell in _first_rows(path, 1).iloc[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)  # rows longer than the header
        if all(_is_number(cell) for cell in cells):
            return pandas.read_csv(
                path, skipinitialspace=True, header=None, names=_names(len(cells)), index_col=False, low_memory=False
            )
        rows = _first_rows(path, 2)[0]
        if len(cells) == 1 and (
            found := [mark for mark in (";", "\t", "|", " ") if rows.str.contains(mark, regex=False).all()]
        ):
            raise DataError(f"{path}: the columns are parted by {found[0]!r}; write the file with commas")
        if "" in cells:
            place = cells.index("") + 1
            raise DataError(f"{path}: column {place} has no name; if it holds row numbers, write the file without them")
        if len(set(cells)) < len(cells):
            twice = next(cell for cell, count in Counter(cells).items() if count > 1)
            raise DataError(f"{path}: two columns are called {twice!r}; rename one")
        return pandas.read_csv(path, skipinitialspace=True, index_col=False, low_memory=False)


def _first_rows(path: Path, count: int) -> pandas.DataFrame:
    """The first rows as text, whatever stands there."""
    return pandas.read_csv(
        path, header=None, nrows=count, dtype=str, skipinitialspace=True, keep_default_na=False, index_col=False
    )


def _names(count: int) -> list[str]:
    return [f"x{number + 1}" for number in range(count)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _table(array: np.ndarray, path: Path) -> pandas.DataFrame:
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(
            f"{path}: holds an array of shape {array.shape} and type {array.dtype}; needed: (n, dim) numbers"
        )
    return pandas.DataFrame(array, columns=_names(array.shape[1]))


def _select(table: pandas.DataFrame, columns: Sequence[str] | None, path: Path) -> pandas.DataFrame:
    table.columns = [str(name) for name in table.columns]
    if columns is None:
        columns = list(table.columns)
    if not columns:
        raise DataError(f"{path}: no columns to use; it has: {', '.join(table.columns) or 'none'}")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: target.columns={list(columns)} names a column twice")
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
        raise DataError(f"{path}: no column {', '.join(map(repr, unknown))}; it has: {', '.join(table.columns)}")
    return table[list(columns)]


def _numbers(table: pandas.DataFrame, path: Path) -> np.ndarray:
    if table.empty:
        raise DataError(f"{path}: 0 rows; at least 6 are needed, or smaller target.validation and target.test")
    for name in table.columns:
        if not pandas.api.types.is_numeric_dtype(table[name]):
            numbers = pandas.to_numeric(table[name], errors="coerce")
            row = int((numbers.isna() & table[name].notna()).to_numpy().argmax())
            raise DataError(
                f"{path}: column {name!r} holds {table[name].iloc[row]!r} in row {row + 1}, which is not a number; "
                "leave the column out with target.columns"
            )
    values = table.to_numpy(dtype=np.float64, copy=True)
    bad_rows = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad_rows):
        column = table.columns[int(np.flatnonzero(~np.isfinite(values[bad_rows[0]]))[0])]
        raise DataError(
            f"{path}: {len(bad_rows)} row(s) hold NaN, infinity or nothing, the first in row {bad_rows[0] + 1}, column "
            f"{column!r}; remove or fill them first"
        )
    return values


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"column {shown} has" if len(names) == 1 else f"columns {shown} have"
