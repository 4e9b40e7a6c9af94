"""Checkpoints: files with a checksum, checks before one is used, and which states of a training are kept.

A checkpoint is the ZIP archive that `torch.save` writes; its comment holds the SHA-256 of the rest. `torch.load` reads
it, but checks no sums, so it would load other weights after a flipped bit. A checkpoint without a comment is checked by
the CRC sums of the archive.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import math
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flowlab.config.schema import TrainerConfig
from flowlab.flow import Flow
from flowlab.metrics.evaluation import is_higher_better
from flowlab.system.files import check_not_replaced, raise_write_error, sync, write_bytes

if TYPE_CHECKING:
    from flowlab.training.record import Record

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


class Checkpoints:
    """Keeps the best state, and writes it and the last one into a run directory, each whole or not at all.

    On finite data, which can be memorized, training ends after `patience` validations without a better one. A
    validation does not count while the training loss is above its value at the best one, as after a loss spike. Then
    training recovers, and does not memorize.

    The best state is written together with the last one: validation often improves faster than a file can be written.
    A resumed run finds again the best state that a kill lost, since it starts from the last state that was written.

    Arguments:
        settings: `patience` in validations, and how often a checkpoint is due, in steps.
        max_steps: the last step, which may come to be earlier.
        directory: the run directory; None writes nothing.
        finite: the training data are finite, so they can be memorized.
        metric: the metric that is compared, in nats, with its sign changed if the highest value is best.

    Attributes:
        best_nll, best_step: the best validation, in nats, and its step; infinite and 0 while there is none.
        highest_loss: the highest loss of a step in the row of the best validation.
        spent: how many validations have counted since the best one.
        has_ended: training ends here: at the last step, or because patience is spent.
        best: the best state of this session.

    Reference:
        | Early Stopping - But When? (Lutz Prechelt, 1998)
        | https://doi.org/10.1007/3-540-49430-8_3
    """

    def __init__(
        self, settings: TrainerConfig, max_steps: int, directory: Path | None, finite: bool, metric: str = "nll"
    ) -> None:
        self.settings, self.max_steps, self.directory = settings, max_steps, directory
        self.finite, self.metric = finite, metric
        self._sign = -1.0 if is_higher_better(metric) else 1.0
        self.best_nll, self.best_step = math.inf, 0
        self.highest_loss, self.spent, self.has_ended = math.inf, 0.0, False
        self.best: dict[str, Any] | None = None
        self._best_is_written = True

    def start(self, record: Record, module: nn.Module, state: Callable[[], dict[str, Any]]) -> None:
        """Count the flow before its first step as a validation, so training never makes it worse."""
        if record.measure is not None:
            nll = self._sign * record.measure(module)[self.metric]
            if nll < self.best_nll:
                self.best_nll, self.best, self._best_is_written = nll, copy.deepcopy(state()), False

    def step(self, step: int, record: Record, state: Callable[[], dict[str, Any]], stopping: bool) -> None:
        """Keep or write what is due after a step; the last step before a stop is always written."""
        state = functools.cache(state)  # the best state may also be the last
        if record.row_step == step and self.metric in record.row:  # a validation
            nll = self._sign * record.row[self.metric]
            if nll < self.best_nll:
                self.best_nll, self.best_step = nll, step
                self.highest_loss, self.spent = record.highest_loss, min(self.spent, 0.0)
                self.best, self._best_is_written = copy.deepcopy(state()), False
            elif self.has_best and record.row["loss"] <= self.highest_loss:
                self.spent += 1
        self.has_ended = step == self.max_steps or self.is_patience_spent
        due = stopping or self.has_ended or step % self.settings.checkpoint_every == 0
        if self.directory is not None and due:
            check_not_replaced(self.directory)
            rows = self.directory / "metrics.csv"
            with raise_write_error(rows):
                sync(rows)  # a run that resumes from this checkpoint does not make them again
            self.write_best()
            self._write("last.ckpt", state())

    def write_best(self) -> None:
        """Write the best state, if it is not yet."""
        if self.directory is not None and self.best is not None and not self._best_is_written:
            self._write("best.ckpt", self.best)
            self._best_is_written = True

    @property
    def has_best(self) -> bool:
        """Whether a validation has given a finite number."""
        return self.best_nll < math.inf

    @property
    def is_patience_spent(self) -> bool:
        """Whether early stopping ends the training."""
        patience = self.settings.patience
        return self.finite and patience is not None and self.spent >= patience

    def _write(self, name: str, state: dict[str, Any]) -> None:
        assert self.directory is not None
        directory = self.directory / "checkpoints"
        with raise_write_error(directory):
            directory.mkdir(exist_ok=True)
        write_checkpoint(directory / name, state)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best_nll", "best_step", "highest_loss", "spent")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_nll, self.best_step = state["best_nll"], state["best_step"]
        # A run that an earlier version began trains to its last step: there patience ended the search alone.
        self.highest_loss, self.spent = state.get("highest_loss", math.inf), state.get("spent", -math.inf)
        self.has_ended = self.is_patience_spent
