"""The target of a table of points in a file: a text, an array, Parquet or Feather."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowlab.config.component import Component, setting
from flowlab.config.errors import ConfigError, DataError
from flowlab.config.paths import local_path
from flowlab.config.registry import register
from flowlab.targets._dialect import Dialect
from flowlab.targets.base import SPLITS, Target

if TYPE_CHECKING:
    import torch
    from torch import Tensor


# What a user does about a column; see Table.
REMEDIES = (
    *(" with target.columns", ", or with target.index=true if it is the first column of a text"),
    *(", or add target.robust=true", "dtype=float64"),
)


class FileTarget(Target):
    """Points from a file, split once by a seed into train, validation and test.

    The columns of an array, or of a text without a header, are called x1, x2, ... No row is dropped or filled in.

    Arguments:
        path: the file; its suffix is .csv, .tsv or .txt, perhaps with .gz, .bz2 or .xz after it, or .npy, .npz,
            .parquet or .feather. A directory of Parquet files is one table.
        columns: the columns to use, in this order; None uses all.
        validation, test: the fraction of the rows in each held-out split, between 0 and 1, together below 1.
        split_seed: the seed of the random split.
        standardize: let the flow end with the inverse of a standardization; densities stay in the units of the data.
        robust: standardize by median and quartiles, and bring points beyond three deviations nearer by arcsinh, so
            that outliers and heavy tails do not spoil the rest; see RobustScale.
        weights: the column that says how much a row counts; it is no coordinate. Training draws rows by their weights,
            and means over rows are weighted.
        dialect: how a text is written: header, delimiter, decimal, thousands, comment and index, see Dialect.

    Attributes:
        notes: what was decided about the file, and what is likely to spoil a fit.
        mean, deviation: the training rows' mean and standard deviation, each of shape (dim,) in float64.
        fingerprint: the file's SHA-256, so a resumed run can tell whether it changed.

    Raises:
        DataError: the file is missing, unreadable or of another kind, a column is unknown, holds text, does not vary or
            is a linear function of others, a row holds NaN or infinity, or there are too few rows.
    """

    train_size: int
    preset = "file"

    def __init__(
        self,
        path: str | Path,
        columns: Sequence[str] | None = None,
        validation: float = 0.15,
        test: float = 0.15,
        split_seed: int = 0,
        standardize: bool = True,
        robust: bool = False,
        weights: str | None = None,
        **dialect: Any,
    ) -> None:
        import torch

        # They import pandas, which other targets do not need.
        from flowlab.targets._columns import Table, center_and_spread
        from flowlab.targets._points import read_points

        if robust and not standardize:
            raise ConfigError("target.robust=true: is a standardization; use target.standardize=true")
        self.path = Path(local_path("target.path", path))
        if weights is not None and weights in (columns or ()):
            raise DataError(f"{path}: target.weights={weights}: is no coordinate; leave it out of target.columns")
        chosen = columns if columns is None or weights is None else [*columns, weights]
        names, values, content, decided = read_points(self.path, chosen, Dialect(**dialect))
        self.fingerprint = hashlib.sha256(content).hexdigest()
        places = self._split(len(values), validation, test, split_seed)
        self.row_numbers = {split: place + 1 for split, place in places.items()}
        self._weights: dict[str, Tensor] = {}
        if weights is not None:
            names, values, counts = self._take_weights(names, values, weights)
            self._weights = {split: torch.from_numpy(counts)[place] for split, place in places.items()}
            if not all(each.sum() > 0 for each in self._weights.values()):
                raise DataError(
                    f"{self.path}: target.weights={weights}: no row of a split counts; choose another column"
                )
        self._columns, self.event_shape = names, (len(names),)
        self._splits = {split: torch.from_numpy(values)[place] for split, place in places.items()}
        train, shares = self._splits["train"], self._weights.get("train")
        self._table = Table(str(self.path), names, *REMEDIES)
        if robust:
            self._table = replace(self._table, robust="; target.robust=true keeps it from spoiling the other rows")
        notes = self._table.check_density(train.numpy()) + self._table.describe(values)
        self.notes = [decided, *notes] if decided else notes
        self.mean, self.deviation = train.mean(0), train.std(0)
        if shares is not None:
            self.mean = shares @ train / shares.sum()
            self.deviation = (shares @ (train - self.mean) ** 2 / shares.sum()).sqrt()
        if standardize:
            center, spread = map(torch.from_numpy, center_and_spread(train.numpy()))
            self.standardization = (center, spread, True) if robust else (self.mean, self.deviation)
        low, high = np.quantile(train.numpy(), [0.005, 0.995], axis=0)
        margin = 0.15 * np.maximum(high - low, 1e-12)
        self.bounds = tuple((float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True))

    def _take_weights(self, names: list[str], values: Any, column: str) -> tuple[list[str], Any, Any]:
        """The other columns, their values, and the weights of the rows."""
        place = next((place for place, name in enumerate(names) if name.strip() == column.strip()), None)
        if place is None:
            raise DataError(f"{self.path}: target.weights={column}: no such column; the file has: {', '.join(names)}")
        weights = values[:, place]
        if (weights < 0).any():
            row = int((weights < 0).argmax())
            raise DataError(
                f"{self.path}: target.weights={column}: holds {weights[row]:g} in row {row + 1}; a weight must be at "
                "least 0; choose another column"
            )
        if len(names) == 1:
            raise DataError(f"{self.path}: target.weights={column}: is the only column; there must be points too")
        return names[:place] + names[place + 1 :], np.delete(values, place, axis=1), weights.copy()

    def _split(self, rows: int, validation: float, test: float, split_seed: int) -> dict[str, Tensor]:
        """The rows of each split."""
        import torch

        from flowlab.seeding import generator

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
        return dict(zip(SPLITS, order.split(sizes), strict=True))

    def check(self, dtype: torch.dtype, seed: int) -> None:
        """Check that a dtype can distinguish the values of each column; a DataError if not."""
        import torch

        values = torch.cat(list(self._splits.values())).numpy()
        self._table.check_rounding(values, self.deviation.tolist(), str(dtype).removeprefix("torch."))

    @property
    def columns(self) -> list[str]:
        return self._columns

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Tensor:
        """All rows of a split, whatever `count` is."""
        import torch

        return self._splits[split].to(dtype or torch.float32)

    def row_weights(self, split: str) -> Tensor | None:
        return self._weights.get(split)


@register("target", "file")
@dataclass(kw_only=True)
class FileSettings(Dialect, Component):
    """The keys of `target=file`; see FileTarget."""

    path: str
    columns: list[str] | None = setting(None, may_be_empty=False)
    validation: float = setting(0.15, above=0, below=1)
    test: float = setting(0.15, above=0, below=1)
    split_seed: int = setting(0, minimum=0)
    standardize: bool = True
    robust: bool = False
    weights: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        local_path("target.path", self.path)

    def build(self, **given: Any) -> FileTarget:
        if not self.path:
            raise ConfigError("target.path: must be given: target.path=...")
        return FileTarget(**vars(self))

    def with_absolute_paths(self) -> FileSettings:
        return FileSettings(**vars(self) | {"path": str(Path(local_path("target.path", self.path)).resolve())})
