"""Whether what a stopped run has left is what it needs to go on to the same end."""

from __future__ import annotations

from flowlab.schemas import ConfigError
from flowlab.targets.base import Target
from flowlab.training.checkpoints import Checkpoints
from flowlab.training.directory import Run
from flowlab.training.metrics import check_metrics


def check_files(run: Run, target: Target) -> None:
    """Refuse to go on from files that are damaged, or from which something is missing.

    Raises:
        ConfigError: the file, what is wrong with it, and what can be done.
    """
    metrics = run.directory / "metrics.csv"
    if not run.has_checkpoint("last"):
        check_metrics(metrics, 0)
        return
    run.load_flow("last")
    last = run.checkpoint("last")
    check_metrics(metrics, last["flowlab"]["rate_mark"][0])
    if run.has_checkpoint("best"):
        run.load_flow("best")
    elif target.train_size is not None and last["callbacks"][Checkpoints.__qualname__]["best_step"]:
        raise ConfigError(
            f"{run.directory}/checkpoints: best.ckpt is gone, whose weights would be the result; put it back, or "
            "remove last.ckpt, and the run begins again"
        )
