"""Where metrics go: metrics.csv always, and TensorBoard or Weights & Biases where the configuration says so."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from requests.utils import get_netrc_auth

from flowlab.config import to_dict
from flowlab.schemas import Config, ConfigError, WandbConfig
from flowlab.training.metrics import CSVMetrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flowlab.training.directory import Run


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
        with _wandb_run(run) as logger:
            yield [csv, logger]
    else:
        yield [csv]


def check_logger(config: Config) -> None:
    """Refuse a logger that cannot work, before anything is written.

    Raises:
        ConfigError: the package that it needs is missing, or there is no key to go online with.
    """
    if config.logger.name == "tensorboard":
        try:
            import tensorboard  # noqa: F401
        except ImportError:
            raise ConfigError("logger=tensorboard: needs the package tensorboard: flowlab[tensorboard]") from None
    if isinstance(config.logger, WandbConfig) and config.logger.mode == "online" and not _wandb_key():
        raise ConfigError(
            "logger.mode=online: no Weights & Biases key is known; run `wandb login`, or use mode=offline"
        )


def log_outcome(loggers: list[Logger], result: dict[str, Any], figures: dict[str, Figure], step: int) -> None:
    """Hand the final numbers and figures to the loggers that can show them."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            logger.experiment.summary.update(result)
            logger.experiment.log({f"figures/{name}": wandb.Image(figure) for name, figure in figures.items()})
        elif isinstance(logger, TensorBoardLogger):
            for name, figure in figures.items():
                logger.experiment.add_figure(name, figure, step, close=False)


@contextmanager
def _wandb_run(ours: Run) -> Iterator[WandbLogger]:
    """One run of Weights & Biases from init to finish; Lightning's logger would leave it open for the next job."""
    import wandb

    settings, origin = ours.config.logger, ours.provenance
    assert isinstance(settings, WandbConfig)
    mode = _wandb_mode(settings.mode)
    logging.getLogger("wandb").setLevel(logging.ERROR)
    run = wandb.init(
        project=settings.project,
        name=settings.run_name,
        group=settings.group or origin["group"],
        tags=settings.tags,
        job_type="train",
        dir=ours.directory,
        id=origin["run_id"],
        resume="allow" if mode == "online" else None,
        mode=mode,
        config=to_dict(ours.config),
        reinit="create_new",
        settings=wandb.Settings(
            console="off", disable_git=True, silent=True, x_disable_stats=True, x_disable_machine_info=True, host=""
        ),
    )
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    exit_code = 1
    try:
        yield WandbLogger(experiment=run, save_dir=ours.directory, project=settings.project)
        exit_code = 0
    finally:
        files = Path(run.dir).parent
        run.finish(exit_code=exit_code)
        if mode == "offline":
            shown = files.relative_to(Path.cwd()) if files.is_relative_to(Path.cwd()) else files
            print(f"W&B ran offline; to upload the run: wandb sync {shown}", file=sys.stderr)


def _wandb_mode(wanted: str) -> Any:
    if wanted != "auto":
        return wanted
    if os.environ.get("WANDB_MODE") in ("offline", "online", "disabled"):
        return os.environ["WANDB_MODE"]
    return "online" if _wandb_key() and _reachable() else "offline"


def _wandb_key() -> bool:
    """Whether a key is known, from the environment or from `wandb login`."""
    return bool(os.environ.get("WANDB_API_KEY") or get_netrc_auth(_wandb_url()))


def _wandb_url() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def _reachable() -> bool:
    url = urlparse(_wandb_url())
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), timeout=3).close()
    except OSError:
        return False
    return True
