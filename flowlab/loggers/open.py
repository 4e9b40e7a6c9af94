"""The loggers of a run, opened together: metrics.csv always, and those that the configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowlab.loggers.metrics_csv import MetricsFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flowlab.config.schema import Config
    from flowlab.runs.directory import Run


@dataclass(frozen=True)
class Sink:
    """An open logger.

    Attributes:
        destination: what the logger's `open` gave; see `flowlab.loggers.base.Logger`.
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


def check_loggers(config: Config) -> None:
    """Check what the loggers of a run need, before anything is written.

    Raises:
        ConfigError: a package or a key is missing.
    """
    loggers: Mapping[str, Any] = config.logger
    for logger in loggers.values():
        logger.check()


@contextmanager
def open_loggers(run: Run, metrics: Sequence[str] = ()) -> Iterator[list[Sink]]:
    """The open loggers of a run, metrics.csv first; all are closed in every case.

    Arguments:
        run: its directory, where metrics.csv lies.
        metrics: the names of the metrics that a validation is expected to give; a new metrics.csv begins with them.

    Raises:
        ConfigError: metrics.csv is damaged, or a logger cannot be opened.
    """
    with ExitStack() as closes:
        sinks = [Sink(MetricsFile(run.directory / "metrics.csv", metrics))]
        for logger in run.config.logger.values():
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
    """Hand the final figures and result.json to the sinks that can show them.

    Arguments:
        result: the content of result.json; its `steps` is the step of the figures.
    """
    log_figures(sinks, figures, result["steps"])
    for sink in sinks:
        if hasattr(sink.destination, "log_outcome"):
            sink.destination.log_outcome(result)
