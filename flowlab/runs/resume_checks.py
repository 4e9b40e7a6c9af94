"""Check that a stopped run has left all that it needs to resume to the same end."""

from __future__ import annotations

from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.loggers._csv import check_metrics
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
        flow: its flow, of which the weights are replaced by those of the checkpoints.
        finite: the training data are finite, so the best checkpoint gives the result.

    Raises:
        ConfigError: the file, what is wrong with it, and the remedy.
    """
    for name in FILES:
        path = run.directory / name
        if path.exists() and not path.is_file():  # such as a directory or a pipe
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
            f"{run.directory}/checkpoints: best.ckpt is gone, whose weights would be the result; put it back, or "
            "remove last.ckpt, and the run begins again"
        )
