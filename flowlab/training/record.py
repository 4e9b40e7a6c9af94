"""The files of a job beside its states: its rows, and in the end its result and figures."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flowlab.config.schema import TrainerConfig
from flowlab.flow import Flow
from flowlab.loggers.base import Sink, log_figures, log_outcome
from flowlab.metrics.evaluation import OF_SAMPLES, TEST, Evaluation, evaluate, gaussian_nll, reverse_kl, scorer
from flowlab.metrics.rows import describe_rows
from flowlab.optimizers.base import Optimizer
from flowlab.runs.directory import Run
from flowlab.system.files import WriteError, check_not_replaced, raise_write_error, write_json
from flowlab.system.process import is_in_notebook, print_line
from flowlab.targets.base import ExactTarget, Target
from flowlab.training.divergence import DivergedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Measure = Callable[[nn.Module], dict[str, float]]


class Record:
    """The losses since the last row, and the rows.

    Arguments:
        settings: how often a row is logged and a validation runs, in steps.
        max_steps: the last step, which may come to be earlier.
        optimizer: for the learning rate in a row.
        measure: gives the metrics of a module on the held-out points; None without such points.

    Attributes:
        rows: what was logged in this session, by step.
        row, row_step: the last row, and its step.
        highest_loss: the highest loss of a step in the last row.
        metrics: the metrics of the last validation.
        seconds: training time over all sessions of a run.
    """

    def __init__(self, settings: TrainerConfig, max_steps: int, optimizer: Optimizer, measure: Measure | None) -> None:
        self.settings, self.max_steps, self.optimizer, self.measure = settings, max_steps, optimizer, measure
        self._scheduled = max_steps
        self.rows: dict[int, dict[str, float]] = {}
        self.row: dict[str, float] = {}
        self.row_step, self.highest_loss = 0, math.inf
        self.metrics: dict[str, float] = {}
        self.seconds = 0.0
        self._window: list[Tensor] = []
        self._rate_mark = (0, 0.0)  # step and seconds at the last row

    def add(self, losses: Tensor, seconds: float) -> None:
        """Add the losses of some steps, of shape (n,), and the time that they took."""
        self._window += losses.unbind()
        self.seconds += seconds

    def is_validation_due(self, step: int) -> bool:
        due = step % self.settings.validate_every == 0 or step == self.max_steps
        return due and self.measure is not None

    def is_due(self, step: int) -> bool:
        return step % self.settings.log_every == 0 or step == self.max_steps or self.is_validation_due(step)

    def write(self, step: int, module: nn.Module, grad_norm: float, loggers: Sequence[Any]) -> None:
        """Make the row of a step and hand it to the loggers."""
        last_step, last_seconds = self._rate_mark
        losses = torch.stack(self._window)
        row, self.highest_loss = {"loss": float(losses.mean())}, float(losses.max())
        if self.measure is not None and self.is_validation_due(step):
            self.metrics = self.measure(module)
            row |= self.metrics
        row |= {
            "grad_norm": grad_norm,
            "lr": self.optimizer.learning_rate(step - 1, self._scheduled),
            "steps_per_second": (step - last_step) / max(self.seconds - last_seconds, 1e-9),
            "seconds": self.seconds,
        }
        self.rows[step] = self.row = row
        self.row_step = step
        self._window, self._rate_mark = [], (step, self.seconds)
        # A resumed run computes again the rows that it had logged after its last checkpoint.
        if step > max((getattr(logger, "last_step", 0) for logger in loggers), default=0):
            for logger in loggers:
                logger.log_metrics(row, step)

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "window": [float(loss) for loss in self._window],
            "rate_mark": list(self._rate_mark),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]
        self._window = [torch.tensor(loss) for loss in state["window"]]
        self._rate_mark = (state["rate_mark"][0], state["rate_mark"][1])


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
    for doubt in result.get("doubts", ()):
        if not is_in_notebook():  # what a cell shows should not vary
            print_line(f"flowlab: {run.directory}: {doubt}")
    check_not_replaced(run.directory)
    write_json(run.directory / "result.json", result)
    log_outcome(loggers, result, _save_figures(run, flow, target))


def _measure(run: Run, flow: Flow, target: Target) -> dict[str, Any]:
    config = run.config
    like = next(flow.parameters())
    if not target.has_points:
        return _measure_samples(run, scorer(target, "test", config.test_size, config.seed, like)(flow))
    test = target.batch("test", config.test_size, config.seed, torch.float64)
    train = target.rows("train", config.test_size, config.seed, torch.float64)
    train_weights, weights = target.row_weights("train"), target.row_weights("test")
    evaluation = evaluate(flow, test.to(like.device, like.dtype), target, weights=weights)
    measured = evaluation.measure([*TEST, *config.metrics])
    _check_sound(measured["nll"], evaluation, torch.cat([train, test.x]).flatten(1).std(0))
    result: dict[str, Any] = {name: measured[name] for name in measured if name not in ("kl", "kl_se")} | {
        "gaussian_nll": gaussian_nll(train, test.x, train_weights, weights),
        "test_points": len(test.x),
        "parameters": sum(parameter.numel() for parameter in flow.parameters()),
    }
    if target.entropy is not None:
        result["entropy"] = target.entropy
    if not isinstance(target, ExactTarget):
        numbers = (target.row_numbers or {}).get("test")
        result |= describe_rows(-evaluation.log_prob, result["gaussian_nll"], numbers, weights)
    elif not config.objective.needs_points:
        result |= reverse_kl(flow, target, config.test_size, config.seed)
    return result | {name: measured[name] for name in ("kl", "kl_se") if name in measured}


def _measure_samples(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """The result for a target without points, from points of the flow."""
    measured = evaluation.measure([*OF_SAMPLES, *run.config.metrics])
    _check_sound(measured["elbo"], evaluation, evaluation.batch.x.double().flatten(1).std(0), "ELBO")
    parameters = sum(parameter.numel() for parameter in evaluation.flow.parameters())
    return measured | {"test_points": len(evaluation.batch.x), "parameters": parameters}


def _check_sound(value: float, evaluation: Evaluation, spread: Tensor, name: str = "NLL") -> None:
    """Refuse meaningless numbers: without an inverse, the flow's density is none. The value is an NLL, or as named.

    The error of the inverse is compared with the spread of each column, of shape (dim,): this depends on no origin.
    """
    if not math.isfinite(value):
        raise DivergedError(f"training came to its end, but the {name} of the test points is not finite")
    errors = evaluation.column_errors.to(spread)
    lost = (~(errors <= spread)).nonzero().flatten().tolist()
    if lost:
        column = max(lost, key=lambda number: float(errors[number] / spread[number]))
        raise DivergedError(
            "training came to its end, but the flow cannot be inverted any more: to the base and back, column "
            f"{evaluation.target.columns[column]} of a test point moves by {errors[column]:.3g}, where its standard "  # type: ignore[union-attr]
            f"deviation is {spread[column]:.3g}; use a smaller flow.depth or optimizer.lr, or dtype=float64"
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
    """Print the error of a figure that cannot be drawn; after a WriteError a resumed run saves the figure again."""
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        print_line(f"flowlab: {run.directory}/figures: not all could be drawn: {error}")
