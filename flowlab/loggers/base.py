"""The interface of a logger, and the loggers of a run, opened together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.registry import FromClass, register
from flowlab.loggers.csv import CSVMetrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flowlab.runs.directory import Run


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
