"""The interface of a logger: its settings, and the sink that it opens for a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.from_class import FromClass

if TYPE_CHECKING:
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

        An exception that ends the context says how the run ended; the context lets it pass.

        Arguments:
            run: its directory exists, and has a configuration and a provenance.
        """
        raise NotImplementedError


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
        sink, status = self.build(save_dir=str(run.directory)), "failed"
        try:
            yield sink
            status = "success"
        finally:
            if hasattr(sink, "finalize"):
                sink.finalize(status)
