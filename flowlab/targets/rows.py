"""The rows of a table as a target: split by a seed, with kinds of columns, conditions and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flowlab.config.errors import ConfigError, DataError
from flowlab.targets._dialect import Dialect
from flowlab.targets.base import SPLITS, Batch, Target

if TYPE_CHECKING:
    import pandas
    import torch
    from torch import Tensor

    from flowlab.targets._values import Rows


# What a user does about a column; see Table.
REMEDIES = (
    *(" with target.columns", ", or with target.index=true if it is the first column of a text"),
    *(", or add target.robust=true", "dtype=float64"),
    "give whole numbers their kind with target.kinds=[COLUMN:integer], ",
)


class TableTarget(Target):
    """The rows of a table, split once by a seed into train, validation and test. No value is filled in.

    Discrete columns have uniform noise between 0 and 1 added, so log densities are lower bounds of log probabilities:
    see Schema. The noise of held-out rows is fixed by `split_seed`; a training row has new noise in each minibatch.

    Arguments:
        table: the rows, with the columns to use.
        path: names the table in messages.
        validation, test: the fraction of the rows in each held-out split, between 0 and 1, together below 1.
        split_seed: the seed of the random split.
        standardize: let the flow end with the inverse of a standardization; densities stay in the units of the data.
        robust: standardize by median and quartiles, and bring points beyond three deviations nearer by arcsinh. So
            outliers and heavy tails do not spoil the rest; see RobustScale.
        weights: the column that says how much a row counts; it is no coordinate. Training draws rows by their weights,
            and means over rows are weighted.
        kinds: the kinds of columns, as texts COLUMN:KIND or a mapping, such as {"hour": "circular:0:24"}. A kind is
            real, positive, bounded:LOW:HIGH, circular:LOW:HIGH, integer, integer:LOW:HIGH, boolean or ordinal:A:B:C. A
            context may also be categorical. An end may be inf.
        context: the columns that the density is conditioned on; they are no coordinates. Numbers are standardized, and
            text becomes one coordinate for each category.
        missing: "refuse" rows with missing values, or "drop" them.
        guess: guess the kinds that are not given, from all rows; without it columns are real.
        dialect: how text in the table writes numbers.
        decided: what was decided when the table was read, in words.

    Attributes:
        notes: what was decided about the table, and what is likely to spoil a fit.
        mean, deviation: the training rows' mean and standard deviation, each of shape (dim,) in float64.
        schema: the columns with their kinds.

    Raises:
        ConfigError: a kind or a column of a setting is unknown.
        DataError: a column is unknown, holds text, does not vary or is a linear function of others. Or a row holds NaN,
            infinity or a value outside of its column's kind. Or there are too few rows.
    """

    train_size: int
    preset = "table"

    def __init__(
        self,
        table: pandas.DataFrame,
        path: Path = Path("data"),
        validation: float = 0.15,
        test: float = 0.15,
        split_seed: int = 0,
        standardize: bool = True,
        robust: bool = False,
        weights: str | None = None,
        kinds: Sequence[str] | Mapping[str, str] | None = None,
        context: Sequence[str] | None = None,
        missing: str = "refuse",
        guess: bool = True,
        dialect: Dialect | None = None,
        decided: str = "",
    ) -> None:
        import torch

        # They import pandas, which other targets do not need.
        from flowlab.tables.infer import describe_schema, infer_schema
        from flowlab.tables.schema import standardization_of
        from flowlab.targets._columns import Table
        from flowlab.targets._points import find_column

        if robust and not standardize:
            raise ConfigError("target.robust=true: is a standardization; use target.standardize=true")
        self.path = path
        rows = self._clean(table, dialect or Dialect(), kinds or (), context or (), missing == "drop")
        frame = rows.frame
        places = self._split(len(frame), validation, test, split_seed)
        self._places = {split: place.numpy() for split, place in places.items()}
        self.row_numbers = {split: torch.from_numpy(rows.places)[place] + 1 for split, place in places.items()}
        self._weights: dict[str, Tensor] = {}
        if weights is not None:
            frame, counts = self._take_weights(frame, weights)
            self._weights = {split: torch.from_numpy(counts)[place] for split, place in places.items()}
            if not all(each.sum() > 0 for each in self._weights.values()):
                raise DataError(
                    f"{self.path}: target.weights={weights}: no row of a split counts; choose another column"
                )
        names = [find_column(name, frame) for name in context or ()]
        self.schema, kinds_of = infer_schema(frame, kinds or (), names, guess, self._places["train"], str(path))
        self._frame, self.context_shape = frame, self.schema.context_shape
        self._columns, self.event_shape = self.schema.columns, (len(self.schema.columns),)
        whole = self.schema.encode(frame, split_seed, str(path))
        self._splits = {split: Batch(*(each[place] for each in whole.tensors())) for split, place in places.items()}
        train, shares = self._splits["train"].x, self._weights.get("train")
        self._table = Table(str(self.path), self._columns, *REMEDIES)
        if robust:
            self._table = replace(self._table, robust="; target.robust=true keeps it from spoiling the other rows")
        self.notes = [
            *filter(None, (decided, rows.said)),
            *(describe_schema(self.schema, kinds_of, str(path)) if guess or kinds or context else ()),
            *self._table.check_density(train.numpy()),
            *self._table.describe(self.schema.numbers(whole.x), self.schema.continuous, self.schema.unbounded),
        ]
        self.mean, self.deviation, *_ = standardization_of(train, shares)
        if standardize:
            self.standardization = standardization_of(self.schema.unconstrain(train), shares, robust)
        low, high = np.quantile(train.numpy(), [0.005, 0.995], axis=0)
        margin = 0.15 * np.maximum(high - low, 1e-12)
        self.bounds = tuple((float(a), float(b)) for a, b in zip(low - margin, high + margin, strict=True))

    def _clean(
        self,
        table: pandas.DataFrame,
        dialect: Dialect,
        kinds: Sequence[str] | Mapping[str, str],
        context: Sequence[str],
        drop: bool,
    ) -> Rows:
        """The rows that are used; conditions, and columns of categories, may hold text."""
        from flowlab.tables.infer import named_kinds
        from flowlab.targets._points import find_column
        from flowlab.targets._values import clean_rows, holds_text

        texts = {name for name, kind in named_kinds(kinds).items() if kind.categories is not None}
        found = {find_column(name, table) for name in context} & set(table.columns)
        texts |= {name for name in found if holds_text(table[name], dialect)}
        return clean_rows(table, self.path, dialect, texts, drop)

    def _take_weights(self, frame: pandas.DataFrame, column: str) -> tuple[pandas.DataFrame, np.ndarray]:
        """The other columns, and the weights of the rows."""
        from flowlab.targets._points import find_column

        name = find_column(column, frame)
        if name not in frame:
            there = ", ".join(frame.columns)
            raise DataError(f"{self.path}: target.weights={column}: no such column; the file has: {there}")
        weights = frame[name].to_numpy(dtype=np.float64, copy=True)
        if (weights < 0).any():
            row = int((weights < 0).argmax())
            raise DataError(
                f"{self.path}: target.weights={column}: holds {weights[row]:g} in row {row + 1}; a weight must be at "
                "least 0; choose another column"
            )
        if len(frame.columns) == 1:
            raise DataError(f"{self.path}: target.weights={column}: is the only column; there must be points too")
        return frame.drop(columns=name), weights

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

        values = torch.cat([split.x for split in self._splits.values()]).numpy()
        self._table.check_rounding(values, self.deviation.tolist(), str(dtype).removeprefix("torch."))

    @property
    def columns(self) -> list[str]:
        return self._columns

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Tensor:
        """All rows of a split, whatever `count` is."""
        return self.batch(split, count, seed, dtype).x

    def batch(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Batch:
        import torch

        return self._splits[split].to(dtype or torch.float32)

    def frame(self, split: str) -> pandas.DataFrame:
        """The rows of a split as they are in the file, with the columns of the context."""
        return self._frame.iloc[self._places[split]].reset_index(drop=True)

    def row_weights(self, split: str) -> Tensor | None:
        return self._weights.get(split)
