"""metrics.csv: a row of numbers for each logged step; resumed runs append to it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flowlab.config.errors import ConfigError
from flowlab.system.files import check_not_replaced, raise_write_error, write_bytes

# A new file begins with these columns, and the expected metrics between them. A file that exists keeps its own.
FIRST, LAST = ("step", "loss"), ("grad_norm", "lr", "steps_per_second", "seconds")


class CSVMetrics:
    """The sink that appends rows to metrics.csv.

    A run that was killed between a row and the next checkpoint computes that row again, to the same numbers; it is not
    written twice. The last line is dropped when the file is opened if a kill cut it short. The header names the
    columns: unknown ones are kept, and a row with a new metric adds a column at the end.

    Arguments:
        path: the file; it is created if it does not exist.
        metrics: names of the metrics that a new file has columns for.

    Attributes:
        columns: the names in the header.
        last_step: the step of the last row, or 0.

    Raises:
        ConfigError: another line is damaged.
        WriteError: the file cannot be written.
    """

    def __init__(self, path: Path, metrics: Sequence[str] = ()) -> None:
        self.path = path
        content = path.read_bytes() if path.exists() else b""
        lines = _whole_lines(content) or [_line(dict.fromkeys([*FIRST, *metrics, *LAST]))]
        if b"".join(lines) != content:
            write_bytes(path, b"".join(lines))
        self.columns, self.last_step = _check(path, lines)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Append the row of a step, unless the file has it."""
        if step <= self.last_step:
            return
        check_not_replaced(self.path.parent)
        new = [name for name in metrics if name not in self.columns]
        if new:
            self._add_columns(new)
        values = {"step": step, **metrics}
        with raise_write_error(self.path), open(self.path, "ab") as file:
            file.write(_line(values.get(name, "") for name in self.columns))
        self.last_step = step

    def _add_columns(self, names: list[str]) -> None:
        """Write the file anew with more columns, empty in the rows that it has."""
        _, *rows = self.path.read_bytes().splitlines()
        columns = [*self.columns, *names]
        write_bytes(self.path, _line(columns) + b"".join(row + b"," * len(names) + b"\n" for row in rows))
        self.columns = columns


def check_metrics(path: Path, step: int) -> None:
    """Check that a run can be resumed with its metrics.csv, after the step of the last row before its checkpoint.

    Raises:
        ConfigError: a line is damaged, or rows are missing.
    """
    lines = _whole_lines(path.read_bytes()) if path.exists() else []
    last = _check(path, lines)[1] if lines else 0
    if last < step:
        raise ConfigError(
            f"{path}: ends at step {last}, and the checkpoint comes after step {step}: rows are missing; put them "
            "back, or remove the checkpoints: the run begins again and makes every row"
        )


def rows_after(path: Path, step: int) -> Iterator[tuple[int, dict[str, float]]]:
    """The rows of a metrics.csv after a step: the step of each, and its numbers by name."""
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if int(row["step"]) > step:
                yield int(row.pop("step")), {name: float(number) for name, number in row.items() if number}


def _line(values: object) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)  # type: ignore[arg-type]
    return text.getvalue().encode()


def _whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _check(path: Path, lines: list[bytes]) -> tuple[list[str], int]:
    """The columns of a file and the step of its last row, or 0; a damaged line is a ConfigError."""
    columns, step = _columns(lines[0]), 0
    if not columns:
        raise _damaged(path, 1, lines[0], "remove the file")
    for number, line in enumerate(lines[1:], start=2):
        try:
            first, *others = line.decode().rstrip("\n").split(",")
            sound = step < int(first) and len(others) == len(columns) - 1
            step = int(first)
            _ = [float(number) for number in others if number]
        except ValueError:
            sound = False
        if not sound:
            raise _damaged(path, number, line, "remove it, and its numbers are lost")
    return columns, step


def _columns(line: bytes) -> list[str]:
    """The names in a header; empty if it is none."""
    try:
        (names,) = csv.reader([line.decode()])
    except (ValueError, csv.Error):
        return []
    return names if names[:1] == ["step"] and all(names) and len(set(names)) == len(names) else []


def _damaged(path: Path, number: int, line: bytes, remedy: str) -> ConfigError:
    shown = line.decode(errors="replace").strip()[:60]
    return ConfigError(f"{path}: line {number} is damaged: {shown!r}; mend it, or {remedy}")
