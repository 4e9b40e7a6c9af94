"""The interface of a logger, metrics.csv, which every run writes, and the open loggers of a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.from_class import FromClass
from flowlab.config.registry import register

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flowlab.runs.directory import Run


import csv
import io
from pathlib import Path

from flowlab.system.files import check_not_replaced, raise_write_error, write_bytes


class Logger(Component):
    """The settings of a logger.

    A subclass is a dataclass that defines `open`, which gives a sink, any object with
        log_metrics(metrics, step)   a row of metrics.csv: numbers by name, without the step
    and, where it can show them,
        log_figures(figures, step)   figures of matplotlib by name; they belong to the caller
        log_outcome(result)          the content of result.json, after the last row and the last figures
    The loggers of PyTorch Lightning are such sinks.

    Attributes:
        figures_every: steps from one drawing of the figures to the next during training; None draws them at the end
            alone.
    """

    figures_every: int | None = None

    def check(self) -> None:
        """Check what the logger needs, before anything is written.

        Raises:
            ConfigError: a package or a key is missing.
        """

    def open(self, run: Run) -> AbstractContextManager[Any]:
        """The sink of a run, closed when the context ends; None where there is nothing to log to.

        The run's directory exists. An exception that ends the context says how the run ended; the context lets it pass.
        """
        raise NotImplementedError


@register("logger", "csv")
@dataclasses.dataclass(kw_only=True)
class CSV(Logger):
    """Nothing besides metrics.csv, which every run writes."""

    def open(self, run: Run) -> AbstractContextManager[None]:
        return nullcontext()


@dataclasses.dataclass(kw_only=True)
class LoggerFromClass(FromClass, Logger):
    """A sink of a user's class, such as a logger of PyTorch Lightning.

    flowlab gives `save_dir`, the run directory, where the constructor asks for it. A method `finalize(status)` is
    called at the end with "success" or "failed".
    """

    given = ("save_dir",)

    def check(self) -> None:
        if not hasattr(self.made_from, "log_metrics"):
            raise ConfigError(f"{self.where()}: must have a method log_metrics(metrics, step)")

    @contextmanager
    def open(self, run: Run) -> Iterator[Any]:
        from lightning_utilities.core.rank_zero import rank_zero_only

        # A logger of Lightning is silent where the environment names a later rank, as a different launcher may do.
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
        sink, status = self.build(save_dir=str(run.directory)), "failed"
        try:
            yield sink
            status = "success"
        finally:
            if hasattr(sink, "finalize"):
                sink.finalize(status)


@dataclasses.dataclass(frozen=True)
class Sink:
    """An open logger.

    Attributes:
        destination: what the logger's `open` gave; see Logger.
        figures_every: steps from one drawing of the figures to the next; None draws them at the end alone.
    """

    destination: Any
    figures_every: int | None = None

    @property
    def last_step(self) -> int:
        """The step of the last row that earlier sessions have logged, where the destination knows it, else 0."""
        return getattr(self.destination, "last_step", 0)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.destination.log_metrics(metrics, step)

    def has_figures_due(self, step: int) -> bool:
        """Whether the figures are due after a step, before the end of the run."""
        can_show = hasattr(self.destination, "log_figures")
        return can_show and self.figures_every is not None and step % self.figures_every == 0


@contextmanager
def open_loggers(run: Run, metrics: Sequence[str] = ()) -> Iterator[list[Sink]]:
    """The open loggers of a run, first metrics.csv, which begins with columns for `metrics`; all are closed at the end.

    Raises:
        ConfigError: metrics.csv is damaged, or a logger cannot be opened.
    """
    loggers: Mapping[str, Any] = run.config.logger
    with ExitStack() as closes:
        sinks = [Sink(CSVMetrics(run.directory / "metrics.csv", metrics))]
        for logger in loggers.values():
            destination = closes.enter_context(logger.open(run))
            if destination is not None:
                sinks.append(Sink(destination, logger.figures_every))
        yield sinks


def log_figures(sinks: Sequence[Sink], figures: Mapping[str, Figure], step: int) -> None:
    """Hand figures to the sinks that can show them."""
    for sink in sinks:
        if figures and hasattr(sink.destination, "log_figures"):
            sink.destination.log_figures(figures, step)


def log_outcome(sinks: Sequence[Sink], result: dict[str, Any], figures: Mapping[str, Figure]) -> None:
    """Hand the final figures and result.json, whose `steps` is their step, to the sinks that can show them."""
    log_figures(sinks, figures, result["steps"])
    for sink in sinks:
        if hasattr(sink.destination, "log_outcome"):
            sink.destination.log_outcome(result)


def figures_every(loggers: Iterable[Any]) -> int | None:
    """Steps between two drawings of the figures where at least one logger may show them; None without such a logger.

    Example:
        >>> from flowlab.loggers.base import figures_every
        >>> from flowlab.loggers.tensorboard import TensorBoard
        >>> figures_every([TensorBoard(figures_every=1000), TensorBoard(figures_every=2500)])
        500
    """
    return math.gcd(*(logger.figures_every or 0 for logger in loggers)) or None


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
