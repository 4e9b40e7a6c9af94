"""Checkpoints: files with a checksum, and checks before a flow is built from one or a run resumes from it.

A checkpoint is the ZIP archive that `torch.save` writes; its comment holds the SHA-256 of the rest. `torch.load` reads
it, but checks no sums, so it would load other weights after a flipped bit. A checkpoint without a comment is checked by
the CRC sums of the archive.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from flowlab.flow import Flow
from flowlab.system.files import write_bytes

if TYPE_CHECKING:
    from flowlab.tables.schema import Schema

MARK = b"sha256:"
LENGTH = len(MARK) + 2 * hashlib.sha256().digest_size

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


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint, complete or not at all; after a WriteError an earlier one is still there."""
    archive = io.BytesIO()  # torch's writer gives no reason when a disk is full
    torch.save(checkpoint, archive)
    content = archive.getvalue()[:-2] + struct.pack("<H", LENGTH)  # an archive ends with the length of its comment
    write_bytes(path, content + _digest(content))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Raise ValueError if the file is damaged, or holds something else than tensors and plain values.
    """
    content = path.read_bytes()
    try:
        _check_sound(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for files that are not checkpoints
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # any error of the readers on a damaged or foreign file
        raise ValueError(str(error)) from error


def _check_sound(content: bytes) -> None:
    before, comment = content[:-LENGTH], content[-LENGTH:]
    archive = zipfile.ZipFile(io.BytesIO(content))
    if sum(entry.file_size for entry in archive.infolist()) > len(content):
        raise ValueError("it is compressed")  # torch compresses nothing; a small file must not expand to a large one
    marked = comment.startswith(MARK)
    if (_digest(before) != comment) if marked else (archive.comment or archive.testzip() is not None):
        raise ValueError("it is not what was written")


def _digest(content: bytes) -> bytes:
    return MARK + hashlib.sha256(content).hexdigest().encode()


def state_shape(
    module: nn.Module, context_shape: tuple[int, ...] | None, standardized: bool, schema: Schema | None = None
) -> dict[str, Any]:
    """The facts that, with the configuration, are enough to build the flow of a checkpoint without its data."""
    shapes = {"event_shape": list(module.event_shape)} if isinstance(module, Flow) else {}
    contexts = {} if context_shape is None else {"context_shape": list(context_shape)}
    ends = schema and schema.domains
    domains = {"domains": [end.tolist() for end in ends]} if ends else {}
    return shapes | contexts | domains | {"standardized": standardized}


def domains_of(checkpoint: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """The ends of the columns' intervals; None if all columns are real.

    Raise ValueError unless they fit the shape of a point.
    """
    ends = checkpoint["flowlab"].get("domains")
    if ends is None:
        return None
    low, high = np.array(ends, dtype=np.float64)
    if low.shape != shapes_of(checkpoint)[0] or not (low < high).all():
        raise ValueError("its part 'domains' does not fit the points")
    return low, high


def shapes_of(checkpoint: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shapes of a point and of a context; the first version wrote the dimension of a point alone."""
    content = checkpoint["flowlab"]
    event = tuple(content["event_shape"]) if "event_shape" in content else (content["dim"],)
    return event, tuple(content["context_shape"]) if "context_shape" in content else None


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
