"""The target of a table with columns of any kind: the target of a file that guesses the kinds of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flowlab.config.registry import register
from flowlab.targets.file import FileSettings


@register("target", "table")
@dataclass(kw_only=True)
class TableSettings(FileSettings):
    """The keys of `target=table`; see FileTarget."""

    guess: bool = True

    options: ClassVar[dict[str, str]] = {"flow": "tabular", "optimizer": "tabular"}
