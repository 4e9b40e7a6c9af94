"""The target of a table of points: a CSV, NPY or Parquet file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowlab.config.component import Component, setting
from flowlab.config.errors import ConfigError, DataError
from flowlab.config.registry import register
from flowlab.targets.base import SPLITS, Target

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class FileTarget(Target):
    """Points from a file, split once by a seed into train, validation and test.

    A CSV file whose first line holds numbers alone has no header; its columns are called x1, x2, ... An NPY file holds
    one array of shape (n, dim). No row is dropped or filled in.

    Arguments:
        path: the file; its suffix is .csv, .npy or .parquet.
        columns: the columns to use, in this order; None uses all.
        validation, test: the fraction of the rows in each held-out split, between 0 and 1, together below 1.
        split_seed: the seed of the random split.
        standardize: let the flow end with the inverse of a standardization; densities stay in the units of the data.

    Attributes:
        mean, deviation: the training rows' mean and standard deviation, each of shape (dim,) in float64.
        fingerprint: the file's SHA-256, so a resumed run can tell whether it changed.

    Raises:
        DataError: the file is missing, unreadable or of another kind, a column is unknown, holds text or does not vary,
            a row holds NaN or infinity, or there are too few rows.
    """

    train_size: int

    def __init__(
        self,
        path: str | Path,
        columns: Sequence[str] | None = None,
        validation: float = 0.15,
        test: float = 0.15,
        split_seed: int = 0,
        standardize: bool = True,
    ) -> None:
        from flowlab.targets._points import read_points  # it imports pandas, which other targets do not need

        self.path = Path(path)
        self._columns, values, content = read_points(self.path, columns)
        self.fingerprint = hashlib.sha256(content).hexdigest()
        self.event_shape = (values.shape[1],)
        self._split(values, validation, test, split_seed)
        train = self._splits["train"]
        self.mean, self.deviation = train.mean(0), train.std(0)
        self._check_spread()
        self.standardization = (self.mean, self.deviation) if standardize else None
        low, high = np.quantile(train.numpy(), [0.005, 0.995], axis=0)
        margin = 0.15 * np.maximum(high - low, 1e-12)
        self.bounds = tuple((float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True))

    def _split(self, values: Any, validation: float, test: float, split_seed: int) -> None:
        import torch

        from flowlab.seeding import generator

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
        self.row_numbers = {name: part + 1 for name, part in zip(SPLITS, order.split(sizes), strict=True)}
        self._splits = dict(zip(SPLITS, torch.from_numpy(values)[order].split(sizes), strict=True))

    def _check_spread(self) -> None:
        constant = [name for name, spread in zip(self._columns, self.deviation, strict=True) if not spread > 0]
        if constant:
            raise DataError(
                f"{self.path}: {_some(constant)} the same value in every training row, so the density is infinite "
                "there; choose other columns with target.columns"
            )
        huge = [name for name, spread in zip(self._columns, self.deviation, strict=True) if not spread.isfinite()]
        if huge:
            raise DataError(f"{self.path}: {_some(huge)} values too large to compute with; use another unit")

    def check(self, dtype: torch.dtype, seed: int) -> None:
        """Check that a dtype can distinguish the values of each column.

        Raises:
            DataError: the rounding of the largest value is more than a thousandth of the standard deviation.
        """
        import torch

        word, single = str(dtype).removeprefix("torch."), dtype == torch.float32
        largest = torch.cat(list(self._splits.values())).abs().max(0).values
        for name, size, spread in zip(self._columns, largest.tolist(), self.deviation.tolist(), strict=True):
            if size > torch.finfo(dtype).max or spread < torch.finfo(dtype).tiny:
                raise DataError(
                    f"{self.path}: column {name!r} reaches {size:.4g} and varies by {spread:.4g}, which {word} does "
                    "not hold; use another unit" + (" or dtype=float64" if single else "")
                )
            if size * torch.finfo(dtype).eps > 1e-3 * spread:
                raise DataError(
                    f"{self.path}: column {name!r} reaches {size:.4g} but varies by {spread:.4g} only, which {word} "
                    f"rounds away; {'use dtype=float64' if single else 'subtract an offset first'}"
                )

    @property
    def columns(self) -> list[str]:
        return self._columns

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Tensor:
        """All rows of a split, whatever `count` is."""
        import torch

        return self._splits[split].to(dtype or torch.float32)


@register("target", "file")
@dataclass(kw_only=True)
class FileSettings(Component):
    """The keys of `target=file`; see FileTarget."""

    path: str
    columns: list[str] | None = setting(None, may_be_empty=False)
    validation: float = setting(0.15, above=0, below=1)
    test: float = setting(0.15, above=0, below=1)
    split_seed: int = setting(0, minimum=0)
    standardize: bool = True

    def build(self, **given: Any) -> FileTarget:
        if not self.path:
            raise ConfigError("target.path: must be given: target.path=...")
        return FileTarget(**vars(self))

    def with_absolute_paths(self) -> FileSettings:
        return FileSettings(**vars(self) | {"path": str(Path(self.path).resolve())})


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"column {shown} has" if len(names) == 1 else f"columns {shown} have"
