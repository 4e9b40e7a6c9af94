"""Whether what a stopped run has left is what it needs to go on to the same end."""

from __future__ import annotations

from flowlab.config.schemas import ConfigError
from flowlab.loggers.metrics_csv import check_metrics
from flowlab.runs.checkpoint_contents import check_can_go_on
from flowlab.runs.directory import Run
from flowlab.targets.base import Target
from flowlab.training.checkpoints import Checkpoints

FILES = (
    *("config.yaml", "status.json", "provenance.json", "result.json", "metrics.csv"),
    *("checkpoints/last.ckpt", "checkpoints/best.ckpt"),
)


def check_files(run: Run, target: Target) -> None:
    """Refuse to go on from files that are damaged, or from which something is missing.

    Raises:
        ConfigError: the file, what is wrong with it, and what can be done.
    """
    for name in FILES:
        path = run.directory / name
        if path.exists() and not path.is_file():  # such as a directory or a pipe
            raise ConfigError(f"{path}: is not a file; move it away")
    metrics = run.directory / "metrics.csv"
    if not run.has_checkpoint("last"):
        check_metrics(metrics, 0)
        return
    flow, last = run.load_flow("last"), run.checkpoint("last")
    try:
        check_can_go_on(last, flow)
    except ValueError as error:
        raise ConfigError(
            f"{run.directory}/checkpoints/last.ckpt: {error}; remove the checkpoints, and the run begins again"
        ) from None
    check_metrics(metrics, last["flowlab"]["rate_mark"][0])
    if run.has_checkpoint("best"):
        run.load_flow("best")
    elif target.train_size is not None and last["callbacks"][Checkpoints.__qualname__]["best_step"]:
        raise ConfigError(
            f"{run.directory}/checkpoints: best.ckpt is gone, whose weights would be the result; put it back, or "
            "remove last.ckpt, and the run begins again"
        )
