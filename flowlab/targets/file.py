"""A target given by points in a file of the user's: CSV, NPY or Parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flowlab.config.schemas import DataError
from flowlab.seeding import generator
from flowlab.targets.base import SPLITS, Target


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
        from flowlab.targets.points import read_points  # it needs pandas, and other targets do not

        before = _sha256(self.path)
        self._columns, values = read_points(self.path, columns)
        self.dim = values.shape[1]
        self.sha256 = _sha256(self.path)
        if before != self.sha256:
            raise DataError(f"{self.path}: has changed while it was read; start again when it is complete")

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
        huge = [name for name, spread in zip(self._columns, self.deviation, strict=True) if not spread.isfinite()]
        if huge:
            raise DataError(f"{self.path}: {_some(huge)} values too large to compute with; use another unit")
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
            if size > torch.finfo(dtype).max or spread < torch.finfo(dtype).tiny:
                raise DataError(
                    f"{self.path}: column {name!r} reaches {size:.4g} and varies by {spread:.4g}, which "
                    f"{str(dtype).removeprefix('torch.')} does not hold; use another unit"
                    + (" or dtype=float64" if dtype == torch.float32 else "")
                )
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


def _sha256(path: Path) -> str | None:
    """The hash of what a file holds; None where it cannot be read, of which `read_points` tells more.

    A pipe or a device may never end.
    """
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"column {shown} has" if len(names) == 1 else f"columns {shown} have"
