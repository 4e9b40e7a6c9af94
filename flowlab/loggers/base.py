"""temporary: replaced by the merged loggers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from flowlab.config.component import Component
from flowlab.config.registry import register


class Logger(Component):
    figures_every = None

    def check(self):
        pass


@register("logger", "csv")
@dataclass
class CSV(Logger):
    pass


def figures_every(loggers):
    return min((each.figures_every for each in loggers if each.figures_every), default=None)


@contextlib.contextmanager
def open_loggers(run, metrics):
    from flowlab.loggers._csv import CSVMetrics

    yield [CSVMetrics(run.directory / "metrics.csv")]


def log_figures(sinks, figures, step):
    pass


def log_outcome(sinks, result, figures):
    pass
