"""Where metrics go: metrics.csv always, and TensorBoard or Weights & Biases where the configuration says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from flowlab.config.schemas import Config, ConfigError, WandbConfig
from flowlab.loggers.csv import CSVMetrics
from flowlab.loggers.wandb import WandbRun, has_key, wandb_run
from flowlab.loggers.wandb_workspace import check_workspace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flowlab.runs.directory import Run


@contextmanager
def open_loggers(run: Run) -> Iterator[list[Logger]]:
    """The loggers of a run, closed in every case; whatever they write lies in its directory."""
    # The first rank opens them, whatever ranks of another launcher the environment speaks of.
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
    csv = CSVMetrics(run.directory / "metrics.csv")
    if run.config.logger.name == "tensorboard":
        tensorboard = TensorBoardLogger(run.directory, name="tensorboard", version="")
        try:
            yield [csv, tensorboard]
        finally:
            tensorboard.experiment.close()
    elif run.config.logger.name == "wandb":
        with wandb_run(run) as logger:
            yield [csv, logger] if logger else [csv]
    else:
        yield [csv]


def check_logger(config: Config) -> None:
    """Refuse a logger that cannot work, before anything is written.

    Raises:
        ConfigError: the package that it needs is missing, there is no key to go online with, or it might go elsewhere.
    """
    if config.logger.name == "tensorboard":
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise ConfigError("logger=tensorboard: needs the package tensorboard: flowlab[tensorboard]") from None
    if isinstance(config.logger, WandbConfig) and config.logger.mode in ("auto", "online"):
        check_workspace()
    if isinstance(config.logger, WandbConfig) and config.logger.mode == "online" and not has_key():
        raise ConfigError(
            "logger.mode=online: no Weights & Biases key is known; run `wandb login`, or use mode=offline"
        )


def log_figures(loggers: list[Logger], figures: dict[str, Figure], step: int) -> None:
    """Hand figures to the loggers that can show them."""
    for logger in loggers:
        if isinstance(logger, WandbRun):
            logger.log_figures(figures, step)
        elif isinstance(logger, TensorBoardLogger):
            for name, figure in figures.items():
                logger.experiment.add_figure(name, figure, step, close=False)


def log_outcome(loggers: list[Logger], result: dict[str, Any], figures: dict[str, Figure]) -> None:
    """Hand the final numbers and figures to the loggers that can show them."""
    log_figures(loggers, figures, result["steps"])
    for logger in loggers:
        if isinstance(logger, WandbRun):
            logger.log_outcome(result)
