"""The figures of a run, drawn at its end and, for the loggers that show them, now and then before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from flowlab.config.schemas import Config, PicturesConfig
from flowlab.flow import Flow
from flowlab.loggers.csv import CSVMetrics
from flowlab.loggers.open import log_figures
from flowlab.runs.directory import Run
from flowlab.system.display import print_line
from flowlab.system.files import WriteError
from flowlab.targets.base import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures_every(config: Config) -> int | None:
    """Steps from one drawing to the next while a run trains; None where nothing shows them before its end."""
    return config.logger.figures_every if isinstance(config.logger, PicturesConfig) else None


def draw(run: Run, flow: Flow, target: Target) -> dict[str, Figure]:
    """The figures of a run by name; empty where they cannot be drawn."""
    from flowlab.plotting import run_figures  # they need pandas and matplotlib: not before there is a flow

    loss = {"maximum_likelihood": "training loss", "reverse_kl": "reverse KL (training)"}[run.config.objective.name]
    with costs_a_picture(run):
        return run_figures(flow, target, run.metrics, run.config.seed, loss)
    return {}


@contextlib.contextmanager
def costs_a_picture(run: Run) -> Iterator[None]:
    """Say what could not be drawn, and go on: it costs a picture, not the run.

    Raises:
        WriteError: it could not be saved; the run is not done, and saves them when it goes on.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        print_line(f"flowlab: {run.directory}/figures: not all could be drawn: {error}")


def show(run: Run, flow: Flow, target: Target, loggers: list[Logger], step: int) -> None:
    """Draw the figures that are due after a step and hand them to the loggers; at the end of a run it is not for here.

    Steps that a resumed run takes again, it has shown before.
    """
    every, logged = figures_every(run.config), max(csv.last_step for csv in loggers if isinstance(csv, CSVMetrics))
    if every and step % every == 0 and logged <= step < run.config.max_steps:
        with costs_a_picture(run):
            log_figures(loggers, draw(run, flow, target), step)


class Figures(pl.Callback):
    """Shows the figures of a run while it trains."""

    def __init__(self, run: Run, target: Target) -> None:
        self.run, self.target = run, target

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.is_global_zero:
            flow = pl_module.flow
            assert isinstance(flow, Flow)
            show(self.run, flow, self.target, trainer.loggers, trainer.global_step)
