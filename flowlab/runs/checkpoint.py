"""Checks of a checkpoint before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.system.files import read_checkpoint

WEIGHTS = ("last", "best")
BEST = "Checkpoints"  # the key of the best step so far, among the callbacks

# The parts that resuming needs, with the type of each.
PARTS: dict[str, type] = {
    "global_step": int,
    "state_dict": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "flowlab": dict,
}
MAX_REPEATED = 2**28  # bytes by which a tensor may exceed its storage
RECORD: dict[str, type] = {"seconds": float, "window": list, "rate_mark": list}


def flow_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint's flow."""
    weights = checkpoint["state_dict"].items()
    return {name.removeprefix("flow."): value for name, value in weights if name.startswith("flow.")}


def check_weights(checkpoint: Any) -> None:
    """Raise ValueError unless a flow can be built from a checkpoint."""
    _check_parts(checkpoint, {"state_dict": dict, "flowlab": dict}, "it")
    content = checkpoint["flowlab"]
    for name, shape in (
        ("event_shape", content.get("event_shape", [content.get("dim")])),
        ("context_shape", content.get("context_shape", [])),
    ):
        if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
            raise ValueError(f"its part 'flowlab' has no part {name!r}, or one of another type")
    for name, value in checkpoint["state_dict"].items():
        if not isinstance(name, str) or not name.startswith("flow.") or not isinstance(value, Tensor):
            raise ValueError(f"its part 'state_dict' holds {name!r}, which is not a tensor of a flow")
        if not _is_finite(value):
            raise ValueError(f"its weights {name!r} are not finite real numbers")


def check_resumable(checkpoint: dict[str, Any], flow: Flow, moments: Sequence[str]) -> None:
    """Raise ValueError unless training can resume from a checkpoint: its parts exist, and belong to one step.

    Arguments:
        checkpoint: it has passed `check_weights`.
        flow: the flow with its weights.
        moments: the names of the optimizer's moments.
    """
    _check_parts(checkpoint, PARTS, "it")
    _check_parts(checkpoint["flowlab"], RECORD, "its part 'flowlab'")
    _check_parts(checkpoint["callbacks"], {BEST: dict}, "its part 'callbacks'")
    _check_parts(checkpoint["callbacks"][BEST], {"best_nll": float, "best_step": int}, f"{BEST!r}")
    optimizer: Any = checkpoint["optimizer_states"][0] if checkpoint["optimizer_states"] else None
    _check_parts(optimizer, {"state": dict, "param_groups": list}, "its optimizer")
    parameters, step = list(flow.parameters()), checkpoint["global_step"]
    trained = {number: parameter for number, parameter in enumerate(parameters) if parameter.requires_grad}
    if set(optimizer["state"]) != set(trained):
        raise ValueError("its optimizer does not have the state of every trained parameter")
    for number, parameter in trained.items():
        state = optimizer["state"][number]
        _check_parts(state, {"step": Tensor} | dict.fromkeys(moments, Tensor), f"its optimizer's state {number}")
        for name in moments:
            if state[name].shape != parameter.shape or not _is_finite(state[name]):
                raise ValueError(f"its optimizer's state {number} does not fit the parameter, or is not finite")
            if name.endswith("_sq") and (state[name] < 0).any():
                raise ValueError(f"its optimizer's state {number} holds negative squares")
        if not torch.equal(state["step"].cpu(), torch.tensor(float(step))):
            raise ValueError(f"its optimizer's state {number} is not from step {step}")


def _is_finite(value: Tensor) -> bool:
    """Whether a tensor holds finite real numbers, and is not much larger than its storage."""
    try:
        repeated = value.numel() * value.itemsize - value.untyped_storage().nbytes()
        return repeated <= MAX_REPEATED and not value.is_complex() and bool(value.isfinite().all())
    except RuntimeError:  # a sparse, quantized or meta tensor
        return False


def _check_parts(whole: Any, parts: Mapping[str, type], what: str) -> None:
    for name, kind in parts.items():
        part = whole.get(name) if isinstance(whole, dict) else None
        if not isinstance(part, kind) or (isinstance(part, int) and kind is int and (part is True or part < 0)):
            raise ValueError(f"{what} has no part {name!r}, or one of another type")


def load_checkpoint(directory: Path, weights: str) -> dict[str, Any]:
    """Read a checkpoint of a run directory, "last" or "best", from which a flow can be built; else a ConfigError."""
    path = directory / "checkpoints" / f"{weights}.ckpt"
    if weights not in WEIGHTS:  # result.json may hold any word
        raise ConfigError(f"{weights!r}: no such checkpoint; allowed: {', '.join(WEIGHTS)}")
    if not path.is_file():
        raise ConfigError(f"{path}: no such checkpoint; the run has not saved one yet")
    remedy = "remove the checkpoints, and the run begins again"
    if weights == "last" and path.with_name("best.ckpt").is_file():
        remedy = "copy best.ckpt over it to resume from there, or remove both to begin again"
    try:
        checkpoint = read_checkpoint(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path}: cannot be read: it is damaged; {remedy}") from None
    try:
        check_weights(checkpoint)
    except ValueError as error:
        raise ConfigError(f"{path}: is not a checkpoint of a run: {error}; {remedy}") from None
    return checkpoint
