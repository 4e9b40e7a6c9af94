"""What a checkpoint must hold, so that its flow can be built and its run can go on: looked at before anything is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flowlab.flow import Flow

# What Lightning reads of a checkpoint, and what flowlab adds to it, with the type of each.
PARTS: dict[str, type] = {
    "global_step": int,
    "pytorch-lightning_version": str,
    "state_dict": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "flowlab": dict,
}
MOST_REPEATED = 2**28  # bytes that a tensor may be larger than what is stored of it
RECORD: dict[str, type] = {"seconds": float, "window": list, "rate_mark": list}


def check_flow_in(checkpoint: Any) -> None:
    """See that a flow can be built of a checkpoint.

    Raises:
        ValueError: a part is missing or of another type.
    """
    _check_parts(checkpoint, {"state_dict": dict, "flowlab": dict}, "it")
    _check_parts(checkpoint["flowlab"], {"dim": int}, "its part 'flowlab'")
    for name, value in checkpoint["state_dict"].items():
        if not isinstance(name, str) or not name.startswith("flow.") or not isinstance(value, Tensor):
            raise ValueError(f"its part 'state_dict' holds {name!r}, which is no tensor of a flow")
        if not _is_finite(value):
            raise ValueError(f"its weights {name!r} are not finite real numbers")


def check_can_go_on(checkpoint: dict[str, Any], flow: Flow) -> None:
    """See that training can go on from a checkpoint: that its parts are there, and of one step.

    Arguments:
        checkpoint: whose flow has been built.
        flow: that flow.

    Raises:
        ValueError: a part is missing, of another type or shape, or does not belong to the others.
    """
    _check_parts(checkpoint, PARTS, "it")
    _check_parts(checkpoint["flowlab"], RECORD, "its part 'flowlab'")
    _check_parts(checkpoint["callbacks"], {"Checkpoints": dict}, "its part 'callbacks'")
    _check_parts(checkpoint["callbacks"]["Checkpoints"], {"best_nll": float, "best_step": int}, "'Checkpoints'")
    _check_parts(checkpoint["loops"], {"fit_loop": dict}, "its part 'loops'")
    optimizer: Any = checkpoint["optimizer_states"][0] if checkpoint["optimizer_states"] else None
    _check_parts(optimizer, {"state": dict, "param_groups": list}, "its optimizer")
    parameters, step = list(flow.parameters()), checkpoint["global_step"]
    trained = {number: parameter for number, parameter in enumerate(parameters) if parameter.requires_grad}
    if set(optimizer["state"]) != set(trained):
        raise ValueError("its optimizer has not the state of every parameter that is trained")
    for number, parameter in trained.items():
        state = optimizer["state"][number]
        _check_parts(
            state, {"step": Tensor, "exp_avg": Tensor, "exp_avg_sq": Tensor}, f"its optimizer's state {number}"
        )
        for name in ("exp_avg", "exp_avg_sq"):
            if state[name].shape != parameter.shape or not _is_finite(state[name]):
                raise ValueError(f"its optimizer's state {number} does not fit the parameter, or is not finite")
        if (state["exp_avg_sq"] < 0).any() or not torch.equal(state["step"].cpu(), torch.tensor(float(step))):
            raise ValueError(f"its optimizer's state {number} is not one of step {step}")


def _is_finite(value: Tensor) -> bool:
    """Whether a tensor holds real numbers, all finite, and is not very much larger than what is stored of it."""
    try:
        repeated = value.numel() * value.itemsize - value.untyped_storage().nbytes()
        return repeated <= MOST_REPEATED and not value.is_complex() and bool(value.isfinite().all())
    except RuntimeError:  # a sparse or quantised one, or one without numbers
        return False


def _check_parts(whole: Any, parts: dict[str, type], what: str) -> None:
    for name, kind in parts.items():
        part = whole.get(name) if isinstance(whole, dict) else None
        if not isinstance(part, kind) or (isinstance(part, int) and kind is int and (part is True or part < 0)):
            raise ValueError(f"{what} has no part {name!r}, or one of another type")
