"""metrics.csv alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.registry import register
from flowlab.loggers.base import Logger

if TYPE_CHECKING:
    from flowlab.runs.directory import Run


@register("logger", "csv")
@dataclass(kw_only=True)
class CSV(Logger):
    """Nothing besides metrics.csv, which every run writes."""

    def open(self, run: Run) -> AbstractContextManager[None]:
        return nullcontext()
