"""The end of a run: its flow measured on points that nothing before has seen, drawn, and written down."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from pytorch_lightning.loggers import Logger

from flowlab.config.schemas import Config
from flowlab.flow import Flow
from flowlab.loggers.open import log_outcome
from flowlab.runs.directory import Run
from flowlab.system.files import raise_write_error, write_json
from flowlab.system.lock import check_not_replaced
from flowlab.targets.base import Target
from flowlab.training.divergence import DivergedError
from flowlab.training.evaluate import Evaluation, evaluate, gaussian_nll
from flowlab.training.figures import costs_a_picture, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_outcome(run: Run, flow: Flow, target: Target, training: dict[str, Any], loggers: list[Logger]) -> None:
    """Write result.json and the figures of a trained flow.

    Arguments:
        run: its directory.
        flow: with its last weights.
        target: what was modelled.
        training: what training itself has to say: steps, seconds ...
        loggers: which of them show the outcome as well.

    Raises:
        DivergedError: the flow gives no finite NLL, or has lost its inverse to rounding.
    """
    weights = "last"
    if target.train_size is not None:
        # Finite data can be learned by heart: take the weights that did best on others.
        weights = "best"
        if not run.has_checkpoint("best"):
            raise DivergedError("training came to its end, but no validation gave a finite NLL")
        flow.load_state_dict(run.load_flow("best").state_dict())
    result = _measure(run.config, flow, target) | {"weights": weights} | training
    check_not_replaced(run.directory)
    write_json(run.directory / "result.json", result)
    log_outcome(loggers, result, _save_figures(run, flow, target))


def _save_figures(run: Run, flow: Flow, target: Target) -> dict[str, Figure]:
    figures = draw(run, flow, target)
    with costs_a_picture(run):
        from flowlab.plotting import save_figure  # needs matplotlib: not before there is a flow

        with raise_write_error(run.directory / "figures"):
            (run.directory / "figures").mkdir(exist_ok=True)
        for name, figure in figures.items():
            save_figure(figure, run.directory / "figures" / f"{name}.png")
        return figures
    return {}


def _measure(config: Config, flow: Flow, target: Target) -> dict[str, Any]:
    test = target.rows("test", config.test_size, config.seed, torch.float64)
    train = target.rows("train", config.test_size, config.seed, torch.float64)
    measured = evaluate(flow, test.to(next(flow.parameters())), target)
    _check_sound(measured, float(test.abs().max()))
    result: dict[str, Any] = {
        "nll": measured.nll,
        "nll_se": measured.nll_se,
        "bits_per_dim": measured.bits_per_dim,
        "inverse_error": measured.inverse_error,
        "gaussian_nll": gaussian_nll(train, test),
        "test_points": len(test),
        "parameters": sum(parameter.numel() for parameter in flow.parameters()),
    }
    if target.entropy is not None:
        result |= {"entropy": target.entropy, "kl": measured.kl, "kl_se": measured.kl_se}
    return result


def _check_sound(measured: Evaluation, farthest: float) -> None:
    """Refuse numbers that mean nothing: without an inverse, what the flow calls a density is none."""
    if not math.isfinite(measured.nll):
        raise DivergedError("training came to its end, but the NLL of the test points is not finite")
    if not measured.inverse_error <= farthest:
        raise DivergedError(
            "training came to its end, but the flow cannot be inverted any more: to the base and back, a test point "
            f"moves by {measured.inverse_error:.3g}, where none lies farther than {farthest:.3g} from 0"
        )
