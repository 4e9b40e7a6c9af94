"""Checks of a table's columns for its density: refuse an infinite one, and note what spoils a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flowlab.config.errors import DataError

EXACT, THIN = 1e-6, 1e-2  # shares of a column's spread that the other columns leave unexplained
FAR = 30  # spreads from the median; in 3000 rows a Gaussian reaches 5, an exponential distribution 11
FEW, FEW_WHOLE, OFTEN = 20, 200, 0.05  # different values, different whole numbers, the part of the rows with one value
NORMAL_QUARTILES = 1.349  # the distance of a standard normal's quartiles
SHOWN = 5  # columns in a message


@dataclass(frozen=True)
class Table:
    """Points as a table whose density is to be learned, and how to speak of it.

    Attributes:
        where: the text before each message, such as the file's path.
        names: the names of the columns.
        choose, index, robust: what chooses columns, such as " with target.columns", and two further remedies.
        wider: what computes in float64.
        whole: what says that a column holds whole numbers.
    """

    where: str
    names: Sequence[str]
    choose: str = ""
    index: str = ""
    robust: str = ""
    wider: str = "flow.double()"
    whole: str = ""

    def check_rows(self, rows: int) -> None:
        """Raise DataError if there are fewer rows than columns, as in an array whose columns are the points."""
        if 1 < rows < len(self.names):
            raise DataError(
                f"{self.where}: {rows} row(s) of {len(self.names)} columns; a density needs more points than columns: "
                f"use array.T if each column is a point, or choose fewer columns{self.choose}"
            )

    def check_density(self, train: np.ndarray) -> list[str]:
        """Check that the training rows can have a density; gives notes on columns that nearly have none.

        Raises:
            DataError: a column is constant, or a linear function of others.
        """
        names = self.names
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = train.mean(0), train.std(0)
        constant = [name for name, column in zip(names, train.T, strict=True) if column.min() == column.max()]
        if constant:
            raise DataError(
                f"{self.where}: {_some(constant)} the same value in every training row, so the density is infinite "
                f"there; choose other columns{self.choose}"
            )
        huge = [name for name, spread in zip(names, deviation, strict=True) if not np.isfinite(spread)]
        if huge:
            raise DataError(f"{self.where}: {_some(huge)} values too large to compute with; use another unit")
        exact, thin = _dependent((train - mean) / deviation)
        if exact:
            place, others = next(iter(exact.items()))
            rest = [name for number, name in enumerate(names) if number not in exact]
            choice = f"=[{','.join(rest)}]" if self.choose and len(rest) <= SHOWN else ""
            raise DataError(
                f"{self.where}: column {names[place]!r} is a linear function of {_shown(names, others)} in every "
                f"training row, so the density is infinite; leave it out{self.choose}{choice}"
            )
        return [
            f"{self.where}: column {names[place]!r} is nearly a linear function of {_shown(names, others)}, so the "
            f"density is very high and hard to learn; leave it out{self.choose}, or replace it by the difference"
            for place, others in thin.items()
        ]

    def check_rounding(self, values: np.ndarray, deviation: Sequence[float], dtype: str) -> None:
        """Check that a dtype, by its name, can distinguish the values of each column.

        Raises:
            DataError: a value overflows, or the rounding of a usual one is more than a thousandth of the standard
                deviation.
        """
        limits, single, sizes = np.finfo(dtype), dtype == "float32", np.abs(values)
        largest, usual = sizes.max(0).tolist(), np.median(sizes, axis=0).tolist()
        for name, most, size, spread in zip(self.names, largest, usual, deviation, strict=True):
            if most > float(limits.max) or spread < limits.tiny:
                raise DataError(
                    f"{self.where}: column {name!r} reaches {most:.4g} and varies by {spread:.4g}, which {dtype} does "
                    "not hold; use another unit" + (f" or {self.wider}" if single else "")
                )
            if size * limits.eps > 1e-3 * spread:
                raise DataError(
                    f"{self.where}: column {name!r} reaches {size:.4g} but varies by {spread:.4g} only, which {dtype} "
                    f"rounds away; {f'use {self.wider}' if single else 'subtract an offset first'}"
                )

    def describe(
        self, values: np.ndarray, continuous: Sequence[int] | None = None, unbounded: Sequence[int] | None = None
    ) -> list[str]:
        """Note what is likely to spoil a fit: columns that number the rows, repeated values or rows, and outliers.

        Arguments:
            values: the rows.
            continuous, unbounded: the places of the columns where a repeated value, or a far one, spoils a fit; None:
                all.
        """
        dense, wide = (
            (self, values) if places is None else (self._pick(places), values[:, places])
            for places in (continuous, unbounded)
        )
        repeated = dense[0]._describe_repeats(dense[1])
        if not repeated and len(dense[0].names):
            repeated = self._describe_copies(values)
        return [*self._describe_counters(values), *repeated, *wide[0]._describe_outliers(wide[1])]

    def _pick(self, places: Sequence[int]) -> Table:
        return replace(self, names=[self.names[place] for place in places])

    def _describe_repeats(self, values: np.ndarray) -> list[str]:
        """Note the columns in which values repeat so often that a density grows there without end."""
        repeated = []
        for name, column in zip(self.names, values.T, strict=True):
            different, counts = np.unique(column, return_counts=True)
            few = FEW_WHOLE if (different == np.round(different)).all() else FEW
            if len(different) <= few and len(column) >= 5 * len(different):
                repeated.append(f"{name!r} ({len(different)} different values)")
            elif counts.max() >= max(10, OFTEN * len(column)):
                repeated.append(
                    f"{name!r} ({different[counts.argmax()]:g} in {counts.max() / len(column):.0%} of the rows)"
                )
        if not repeated:
            return []
        shown = ", ".join(repeated[:SHOWN]) + (f" and {len(repeated) - SHOWN} more" if len(repeated) > SHOWN else "")
        return [
            f"{self.where}: values repeat in {shown}, and there a density can grow without end; {self.whole}add noise "
            f"of the size of a step to such a column, or leave it out{self.choose}"
        ]

    def _describe_copies(self, values: np.ndarray) -> list[str]:
        """Note that many rows are copies of others."""
        from pandas import DataFrame  # it compares rows by their hashes

        copies = int(DataFrame(values).duplicated().sum())
        if copies < max(10, OFTEN * len(values)):
            return []
        return [
            f"{self.where}: {copies} of {len(values)} rows are copies of others, so the density can grow without end "
            "there, and held-out rows are in training too; drop the copies"
        ]

    def _describe_counters(self, values: np.ndarray) -> list[str]:
        """Note the columns that number the rows."""
        steps = np.diff(values, axis=0)
        counting = [
            name
            for name, step in zip(self.names, steps.T, strict=True)
            if step[0] and np.allclose(step, step[0], rtol=1e-6, atol=0)
        ]
        return [
            f"{self.where}: column {name!r} numbers the rows; leave it out{self.choose}{self.index}"
            for name in counting
        ]

    def _describe_outliers(self, values: np.ndarray) -> list[str]:
        """Note the columns with a value far from all others, by the row that is farthest."""
        center, spread = center_and_spread(values)
        distance = np.abs(values - center) / spread
        notes = []
        for name, column, far in zip(self.names, values.T, distance.T, strict=True):
            row, count = int(far.argmax()), int((far > FAR).sum())
            if count:
                others = f" ({count - 1} more row(s) are far)" if count > 1 else ""
                notes.append(
                    f"{self.where}: column {name!r} holds {column[row]:g} in row {row + 1}, {far[row]:.3g} times its "
                    f"usual distance from the median{others}; remove the row if the value is wrong or stands for a "
                    f"missing one, or take logarithms of a heavy tail{self.robust}"
                )
        return notes[:SHOWN]


def _dependent(z: np.ndarray) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """The columns of standardized rows that are exactly, and nearly, linear functions of others, and of which."""
    from scipy.linalg import lapack

    rows, size = z.shape
    exact: dict[int, list[int]] = {}
    thin: dict[int, list[int]] = {}
    if not 1 < size < rows:
        return exact, thin
    # A pivoted Cholesky factor takes the columns in the order of what the earlier ones leave unexplained.
    # If columns explain each other equally well, the first comes first on every machine, however sums are rounded.
    first = z * (1 - 1e-6 * np.arange(size) / size)
    _, order, rank, _ = lapack.dpstrf(first.T @ first / rows, tol=THIN**2)
    basis = order[:rank] - 1
    for place in map(int, order[rank:] - 1):
        weights = np.linalg.lstsq(z[:, basis], z[:, place], rcond=None)[0]
        left = np.abs(z[:, place] - z[:, basis] @ weights)
        others = [int(number) for number, weight in zip(basis, weights, strict=True) if abs(weight) > THIN]
        _, spread = center_and_spread(z[:, place])  # spread of most rows: an outlier may be all that two columns share
        if left.max() <= EXACT * spread:
            exact[place] = others
        elif np.median(left) <= THIN * spread:
            thin[place] = others
    return exact, thin


def center_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The median, and the standard deviation of a Gaussian with the same quartiles, of rows of shape (n, *).

    Where the quartiles are equal, the spread is the median distance of the other values.
    """
    low, center, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    spread = np.atleast_1d((high - low) / NORMAL_QUARTILES)
    for place in np.flatnonzero(spread == 0):
        distance = np.abs(values.reshape(len(values), -1)[:, place] - np.atleast_1d(center)[place])
        spread[place] = np.median(distance[distance > 0])
    return center, spread


def _shown(names: Sequence[str], places: Sequence[int]) -> str:
    shown = ", ".join(repr(names[place]) for place in places[:SHOWN])
    return shown + (f" and {len(places) - SHOWN} more" if len(places) > SHOWN else "")


def _some(names: list[str]) -> str:
    return f"column{'s' * (len(names) > 1)} {_shown(names, range(len(names)))} {'have' if len(names) > 1 else 'has'}"
