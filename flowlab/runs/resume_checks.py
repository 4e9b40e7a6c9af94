"""Check that a stopped run has every file that it needs to resume."""

from __future__ import annotations

from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.loggers.csv import check_metrics
from flowlab.runs.checkpoint_contents import BEST, check_resumable
from flowlab.runs.directory import Run

FILES = (
    *("config.yaml", "status.json", "provenance.json", "result.json", "metrics.csv"),
    *("checkpoints/last.ckpt", "checkpoints/best.ckpt"),
)


def check_files(run: Run, flow: Flow, finite: bool) -> None:
    """Refuse to resume from damaged or missing files.

    Arguments:
        run: the run.
        flow: its flow; the checkpoints' weights are loaded into it.
        finite: the training data are finite, so the result comes from the best checkpoint.

    Raises:
        ConfigError: a file is damaged or missing.
    """
    for name in FILES:
        path = run.directory / name
        if path.exists() and not path.is_file():  # a directory or a pipe
            raise ConfigError(f"{path}: is not a file; move it away")
    metrics = run.directory / "metrics.csv"
    if not run.has_checkpoint("last"):
        check_metrics(metrics, 0)
        return
    if run.has_checkpoint("best"):
        run.load_weights(flow, "best")
    last = run.load_weights(flow, "last")
    try:
        check_resumable(last, flow, run.config.optimizer.moments)
    except ValueError as error:
        raise ConfigError(
            f"{run.directory}/checkpoints/last.ckpt: {error}; remove the checkpoints, and the run begins again"
        ) from None
    check_metrics(metrics, last["flowlab"]["rate_mark"][0])
    if finite and last["callbacks"][BEST]["best_step"] and not run.has_checkpoint("best"):
        raise ConfigError(
            f"{run.directory}/checkpoints: best.ckpt is missing, whose weights give the result; put it back, or "
            "remove last.ckpt, and the run begins again"
        )
