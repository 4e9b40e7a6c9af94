"""The result of a run: its flow is measured on new points, drawn, and written to the run directory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from flowlab.flow import Flow
from flowlab.loggers.base import Sink, log_figures, log_outcome
from flowlab.metrics.evaluation import TEST, evaluate, gaussian_nll
from flowlab.runs.directory import Run
from flowlab.system.display import print_line
from flowlab.system.files import WriteError, check_not_replaced, raise_write_error, write_json
from flowlab.targets.base import Target
from flowlab.training.divergence import DivergedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_result(run: Run, flow: Flow, target: Target, training: dict[str, Any], loggers: Sequence[Sink]) -> None:
    """Write result.json and the figures of a flow with its last weights, and log them.

    Finite data can be memorized, so there the flow gets its best weights. `training` holds steps, seconds and the like.

    Raises:
        DivergedError: the flow gives no finite NLL, or has lost its inverse to rounding.
    """
    weights = "last" if target.train_size is None else "best"
    if weights == "best":
        if not run.has_checkpoint("best"):
            raise DivergedError("training came to its end, but no validation gave a finite NLL")
        run.load_weights(flow, "best")
    result = _measure(run, flow, target) | {"weights": weights} | training
    check_not_replaced(run.directory)
    write_json(run.directory / "result.json", result)
    log_outcome(loggers, result, _save_figures(run, flow, target))


def _measure(run: Run, flow: Flow, target: Target) -> dict[str, Any]:
    config = run.config
    test = target.batch("test", config.test_size, config.seed, torch.float64)
    train = target.rows("train", config.test_size, config.seed, torch.float64)
    like = next(flow.parameters())
    measured = evaluate(flow, test.to(like.device, like.dtype), target).measure([*TEST, *config.metrics])
    _check_sound(measured, float(test.x.abs().max()))
    result: dict[str, Any] = {name: measured[name] for name in measured if name not in ("kl", "kl_se")} | {
        "gaussian_nll": gaussian_nll(train, test.x),
        "test_points": len(test.x),
        "parameters": sum(parameter.numel() for parameter in flow.parameters()),
    }
    if target.entropy is not None:
        result["entropy"] = target.entropy
    return result | {name: measured[name] for name in ("kl", "kl_se") if name in measured}


def _check_sound(measured: dict[str, float], farthest: float) -> None:
    """Refuse meaningless numbers: without an inverse, the flow's density is none."""
    if not math.isfinite(measured["nll"]):
        raise DivergedError("training came to its end, but the NLL of the test points is not finite")
    if not measured["inverse_error"] <= farthest:
        raise DivergedError(
            "training came to its end, but the flow cannot be inverted any more: to the base and back, a test point "
            f"moves by {measured['inverse_error']:.3g}, where none lies farther than {farthest:.3g} from 0"
        )


def show_figures(run: Run, flow: Flow, target: Target, loggers: Sequence[Sink], step: int) -> None:
    """Draw the figures of a step during training, unless an earlier session has shown them."""
    due = [logger for logger in loggers if logger.has_figures_due(step)]
    if due and step >= max(logger.last_step for logger in loggers):
        with _report_failed_figures(run):
            log_figures(due, _draw_figures(run, flow, target), step)


def _draw_figures(run: Run, flow: Flow, target: Target) -> dict[str, Figure]:
    from flowlab.plotting import run_figures  # needs pandas and matplotlib: not before there is a flow

    return run_figures(flow, target, run.metrics, run.config.seed, run.config.objective.label)


def _save_figures(run: Run, flow: Flow, target: Target) -> dict[str, Figure]:
    """Draw and save the figures of a run; gives them by name, or none where one cannot be drawn."""
    with _report_failed_figures(run):
        from flowlab.plotting import save_figure

        figures, directory = _draw_figures(run, flow, target), run.directory / "figures"
        with raise_write_error(directory):
            directory.mkdir(exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, directory / f"{name}.png")
        return figures
    return {}


@contextlib.contextmanager
def _report_failed_figures(run: Run) -> Iterator[None]:
    """Print the error of a figure that cannot be drawn, and go on; after a WriteError a resumed run saves it again."""
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        print_line(f"flowlab: {run.directory}/figures: not all could be drawn: {error}")
