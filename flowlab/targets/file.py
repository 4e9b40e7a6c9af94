"""The target of a table of points in a file: a text, an array, Parquet or Feather."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from flowlab.config.component import Component, setting
from flowlab.config.errors import ConfigError, DataError
from flowlab.config.paths import local_path
from flowlab.config.registry import register
from flowlab.targets._dialect import Dialect
from flowlab.targets.rows import TableTarget

DIALECT = {item.name for item in fields(Dialect)}


class FileTarget(TableTarget):
    """Points from a file, split once by a seed into train, validation and test.

    The columns of an array, or of a text without a header, are called x1, x2, ... No value is filled in.

    Arguments:
        path: the file; its suffix is .csv, .tsv or .txt, perhaps with .gz, .bz2 or .xz after it, or .npy, .npz,
            .parquet or .feather. A directory of Parquet files is one table.
        columns: the columns to use, in this order; None uses all.
        validation, test, split_seed, standardize, robust, weights, kinds, context, missing: see TableTarget.
        guess: guess the kinds that are not given, from all rows; without it columns are real.
        dialect: how a text is written: header, delimiter, decimal, thousands, comment and index, see Dialect.

    Attributes:
        fingerprint: the file's SHA-256, so a resumed run can tell whether it changed.

    Raises:
        ConfigError: as TableTarget.
        DataError: the file is missing, unreadable or of another kind, or its rows cannot be used: see TableTarget.
    """

    preset = "file"

    def __init__(
        self,
        path: str | Path,
        columns: Sequence[str] | None = None,
        weights: str | None = None,
        context: Sequence[str] | None = None,
        guess: bool = False,
        **settings: Any,
    ) -> None:
        from flowlab.targets._points import read_table

        dialect = Dialect(**{name: settings.pop(name) for name in list(settings) if name in DIALECT})
        place = Path(local_path("target.path", path))
        others = [*(context or ()), *([] if weights is None else [weights])]
        for name in others:
            if name in (columns or ()) or others.count(name) > 1:
                key = "weights" if name == weights else "context"
                raise DataError(f"{path}: target.{key}={name}: is no coordinate; leave it out of target.columns")
        chosen = columns if columns is None else [*columns, *others]
        table, content, decided = read_table(place, chosen, dialect)
        super().__init__(
            table, place, weights=weights, context=context, guess=guess, dialect=dialect, decided=decided, **settings
        )
        self.fingerprint = hashlib.sha256(content).hexdigest()


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
    kinds: list[str] | None = None
    context: list[str] | None = setting(None, may_be_empty=False)
    missing: str = setting("refuse", choices=("refuse", "drop"))
    guess: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        local_path("target.path", self.path)

    def build(self, **given: Any) -> FileTarget:
        if not self.path:
            raise ConfigError("target.path: must be given: target.path=...")
        return FileTarget(**vars(self))

    def with_absolute_paths(self) -> FileSettings:
        return type(self)(**vars(self) | {"path": str(Path(local_path("target.path", self.path)).resolve())})
