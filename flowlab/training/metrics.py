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


HEADER = ",".join(COLUMNS).encode() + b"\n"


def check_metrics(path: Path) -> int:
    """The last step of a metrics.csv, 0 where there is none; the file is left as it is.

    Raises:
        ConfigError: another file, or a line at its end that is damaged.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")] or [HEADER]
    if whole[0] != HEADER:
        raise ConfigError(f"{path}: is damaged: its first line is not {HEADER.decode().strip()}; move it away")
    try:
        return int(whole[-1].split(b",")[0]) if len(whole) > 1 else 0
    except ValueError:
        raise ConfigError(f"{path}: line {len(whole)} is damaged: it does not begin with a step; remove it") from None


class CSVMetrics(Logger):
    """Appends to metrics.csv; Lightning's own CSV logger deletes the file when a run is resumed.

    A run killed between a row and the next checkpoint computes that row again, to the same numbers; the row is there
    already and is not written twice. A line that a kill cut short is dropped when the file is opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.last_step = check_metrics(path)
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")] or [HEADER]
        if whole != lines:
            write_text(path, b"".join(whole).decode())

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
