"""metrics.csv: one row a step, appended, across resumes too."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Logger = object

from flowlab.config.errors import ConfigError
from flowlab.system.files import raise_write_error, write_bytes
from flowlab.system.lock import check_not_replaced

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


class CSVMetrics(Logger):
    """Appends to metrics.csv; Lightning's own CSV logger deletes the file when a run is resumed.

    A run killed between a row and the next checkpoint computes that row again, to the same numbers; the row is there
    already and is not written twice. A line that a kill cut short is dropped when the file is opened.

    Raises:
        ConfigError: another line is damaged.
        WriteError: a row cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        content = path.read_bytes() if path.exists() else b""
        lines = _whole_lines(content) or [HEADER]
        if b"".join(lines) != content:
            write_bytes(path, b"".join(lines))
        self.last_step = _last_step(path, lines)

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
        check_not_replaced(self.path.parent)
        with raise_write_error(self.path), open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow({"step": step, **metrics})
        self.last_step = step

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration is in config.yaml."""


def check_metrics(path: Path, step: int) -> None:
    """See that a run can go on with its metrics.csv, whose last row before the checkpoint is that of a step.

    Raises:
        ConfigError: a line is damaged, or rows are missing.
    """
    last = _last_step(path, _whole_lines(path.read_bytes()) if path.exists() else [])
    if last < step:
        raise ConfigError(
            f"{path}: ends at step {last}, and the checkpoint comes after step {step}: rows are missing; put them "
            "back, or remove the checkpoints: the run begins again and makes every row"
        )


def _whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _last_step(path: Path, lines: list[bytes]) -> int:
    """The step of the last of some whole lines, or 0; a damaged one is named."""
    step = 0
    for number, line in enumerate(lines, start=1):
        if number == 1 and line == HEADER:
            continue
        try:
            first, *others = line.decode().rstrip("\n").split(",")
            sound = step < int(first) and len(others) == len(COLUMNS) - 1
            step = int(first)
            _ = [float(number) for number in others if number]
        except ValueError:
            sound = False
        if number == 1 or not sound:
            raise ConfigError(
                f"{path}: line {number} is damaged: {line.decode(errors='replace').strip()[:60]!r}; mend it, or "
                f"{'remove the file' if number == 1 else 'remove it, and its numbers are lost'}"
            )
    return step


def rows_after(path: Path, step: int) -> Iterator[tuple[int, dict[str, float]]]:
    """The rows of a metrics.csv after a step: the step of each and its numbers."""
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if int(row["step"]) > step:
                yield int(row.pop("step")), {name: float(number) for name, number in row.items() if number}
