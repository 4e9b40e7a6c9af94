"""metrics.csv: one row a step, appended, across resumes too."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger

from flowlab.files import write_text
from flowlab.schemas import ConfigError

COLUMNS = (
    "step",
    "loss",
    "nll",
    "nll_se",
    "kl",
    "bits_per_dim",
    "inverse_error",
    "grad_norm",
    "lr",
    "steps_per_second",
    "seconds",
)


class CSVMetrics(Logger):
    """Appends to metrics.csv; Lightning's own CSV logger deletes the file when a run is resumed.

    A run killed between a row and the next checkpoint computes that row again, to the same numbers; the row is there
    already and is not written twice. A line that a kill cut short is dropped when the file is opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")] or [",".join(COLUMNS).encode() + b"\n"]
        if whole != lines:
            write_text(path, b"".join(whole).decode())
        try:
            self.last_step = int(whole[-1].split(b",")[0]) if len(whole) > 1 else 0
        except ValueError:
            raise ConfigError(
                f"{path}: line {len(whole)} is damaged: it does not begin with a step; remove it"
            ) from None

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def experiment(self) -> None:
        return None

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        if step <= self.last_step:
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow({"step": step, **metrics})
        self.last_step = step

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration is in config.yaml."""


def rows_after(path: Path, step: int) -> Iterator[tuple[int, dict[str, float]]]:
    """The rows of a metrics.csv after a step: the step of each and its numbers."""
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if int(row["step"]) > step:
                yield int(row.pop("step")), {name: float(number) for name, number in row.items() if number}
