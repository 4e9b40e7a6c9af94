"""Mutants that no operator makes: functions replaced by name, so they survive changes of the source text.

`make mutants` adds a call of `apply_patch` to the end of the file that defines the function, in a copy of the tree.
"""

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch.nn.functional import logsigmoid, softplus


def change_input(change: Callable) -> Callable:
    """Change the first argument of a method."""
    return lambda method: lambda self, x, *rest, **options: method(self, change(x), *rest, **options)


def change_output(change: Callable) -> Callable:
    """Change what a method or function returns; a pair arrives as two arguments."""

    def make(function: Callable) -> Callable:
        def mutated(*given, **named):
            output = function(*given, **named)
            return change(*output) if isinstance(output, tuple) else change(output)

        return mutated

    return make


def replace_by(function: Callable) -> Callable:
    """Replace the whole function."""
    return lambda original: lambda *given, **named: function(*given, **named)


def load_anything(read: Callable) -> Callable:
    """Let a function that reads files by `torch.load` unpickle any object."""
    load = torch.load

    def mutated(*given, **named):
        with mock.patch.object(torch, "load", lambda *f, **options: load(*f, **options | {"weights_only": False})):
            return read(*given, **named)

    return mutated


# The name of a mutant: the function, by its public name; how the mutant is made of it; its tests, where they are not
# the tests of its module.
PATCHES: dict[str, tuple] = {
    # seeds and data
    "the seed is lost": (
        "flowlab.seeding.generator",
        lambda original: lambda seed, *rest, **named: original(0, *rest, **named),
    ),
    "all purposes share one stream": (
        "flowlab.seeding.generator",
        lambda original: lambda seed, purpose, *rest, **named: original(seed, "train", *rest, **named),
    ),
    "a minibatch ignores the step": (
        "flowlab.seeding.generator",
        lambda original: lambda seed, purpose, step=0, device="cpu": original(seed, purpose, 0, device),
        "tests/training/test_batches.py",
    ),
    "samples of a flow ignore the generator": (
        "flowlab.flow.Flow.sample",
        lambda original: lambda self, shape=(), context=None, generator=None: original(self, shape, context),
    ),
    "test points are training points": (
        "flowlab.targets.ExactTarget.rows",
        lambda original: lambda self, split, *rest, **named: original(self, "train", *rest, **named),
        "tests/targets/test_exact.py",
    ),
    "rows of a file are tested that were trained on": (
        "flowlab.targets.FileTarget.rows",
        lambda original: lambda self, split, *rest, **named: original(self, "train", *rest, **named),
    ),
    "the order of rows ignores the seed": (
        "flowlab.training.batches.epoch_stream",
        lambda original: lambda rows, seed, batch_size: original(rows, 0, batch_size),
    ),
    "a rank takes a stretch of the minibatch": (
        "flowlab.distributed.world.World.share",
        replace_by(lambda self, rows: rows.tensor_split(self.size)[self.rank]),
    ),
    # bijectors
    "gradients stop at the inverse of an affine map": (
        "flowlab.bijectors.LowRankAffine.inverse_and_log_det",
        change_input(lambda y: y.detach()),
    ),
    "gradients stop at the log det of Tanh": (
        "flowlab.bijectors.Tanh.forward_and_log_det",
        change_output(lambda y, log_det: (y, log_det.detach())),
    ),
    "SmoothPReLU computes in single precision": (
        "flowlab.bijectors.SmoothPReLU.forward_and_log_det",
        change_input(lambda x: x.float().to(x.dtype)),
    ),
    "the log det of a planar flow depends on the other events": (
        "flowlab.bijectors.Planar.forward_and_log_det",
        change_output(lambda y, log_det: (y, log_det.mean().expand_as(log_det))),
    ),
    "Sigmoid is clamped away from its ends": (
        "flowlab.bijectors.Sigmoid.forward_and_log_det",
        change_output(lambda y, log_det: (y.clamp(1e-6, 1 - 1e-6), log_det)),
    ),
    "Softplus is torch's, which is linear past 20": (
        "flowlab.bijectors.Softplus.forward_and_log_det",
        replace_by(lambda self, x, context=None: (softplus(x), logsigmoid(x))),
        "tests/conformance/test_tails.py",
    ),
    "NormalCDF is torch's, which loses digits in the left tail": (
        "flowlab.bijectors.NormalCDF.forward",
        replace_by(lambda self, x, context=None: torch.special.ndtr(x)),
        "tests/conformance/test_tails.py",
    ),
    "an inverted bijector has the log det of the map that it inverts": (
        "flowlab.bijectors.Invert.forward_and_log_det",
        change_output(lambda y, log_det: (y, -log_det)),
    ),
    "Inline drops its context": (
        "flowlab.bijectors.Inline.forward_and_log_det",
        lambda original: lambda self, x, context=None: original(self, x, context * 0 if context is not None else None),
    ),
    "constants of a bijector are not saved": (
        "flowlab.bijectors.AffineScalar.__init__",
        lambda original: (
            lambda self, *given, **named: (
                original(self, *given, **named),
                self._non_persistent_buffers_set.update(self._buffers),
            )[0]
        ),
    ),
    # flows and objectives
    "the density outside the support is NaN": (
        "flowlab.flow.Flow.log_prob",
        change_output(lambda log_prob: log_prob.masked_fill(log_prob == -torch.inf, torch.nan)),
    ),
    "no gradient flows through samples": ("flowlab.flow.Flow.rsample", change_output(lambda y: y.detach())),
    "points outside the support have a pre-image": (
        "flowlab.flow.Flow.inverse_and_log_prob",
        change_output(lambda x, log_prob: (x.nan_to_num(0.0), log_prob)),
        "tests/training/test_evaluate.py",
    ),
    "a loss is a sum over the minibatch": (
        "flowlab.objectives.objective.MaximumLikelihood.__call__",
        lambda original: lambda self, flow, batch: original(self, flow, batch) * len(batch),
        "tests/training/test_module.py",
    ),
    # training and resume
    "the learning rate is one step ahead": (
        "flowlab.training.optimizer.learning_rate",
        lambda original: lambda config, step, max_steps: original(config, step + 1, max_steps),
        "tests/training/test_module.py",
    ),
    "a resumed job counts one step too many": (
        "flowlab.training.state.read_state",
        lambda original: lambda flows, optimizers, steps: original(flows, optimizers, steps + 1),
        "tests/training/test_step.py",
    ),
    "Adam's moments are lost": (
        "flowlab.training.state.write_state",
        lambda original: lambda state, place, flow, optimizer=None: original(state, place, flow),
        "tests/training/test_step.py",
    ),
    "a resumed run forgets the losses since its last row": (
        "flowlab.training.record.Record.load_state_dict",
        change_input(lambda state: state | {"window": []}),
    ),
    "a row that a resumed run computes again is written twice": (
        "flowlab.loggers.metrics_csv.MetricsFile.log_metrics",
        lambda original: lambda self, *given, **named: (setattr(self, "last_step", 0), original(self, *given, **named)),
    ),
    # files, safety, claims
    "a checkpoint is not flushed to the disk": ("flowlab.system.files.flush", replace_by(lambda path: None)),
    "a file is written in place": (
        "flowlab.system.files.write_atomically",
        replace_by(lambda path, write: write(path)),
    ),
    "reading a checkpoint executes code": (
        "flowlab.runs.checkpoint_file.read_checkpoint",
        load_anything,
    ),
    "secrets are written as they are": ("flowlab.config.secrets.redact", replace_by(lambda text: text)),
    "configurations may name any class": (
        "flowlab.config.allowed.check_name",
        replace_by(lambda where, path: None),
    ),
    "a claim holds whatever its tolerance": ("flowlab.claims.check.Measured.holds", replace_by(lambda self: True)),
}


def find_target(anchor: str) -> tuple[str, str]:
    """Return the module that defines a function, and its name there with its class.

    Raises:
        LookupError: there is no such function.
    """
    *path, last = anchor.split(".")
    owner: Any = None
    for split in range(len(path), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            module = importlib.import_module(".".join(path[:split]))
            owner = functools.reduce(lambda holder, name: getattr(holder, name, None), path[split:], module)
            break
    if inspect.isclass(owner):
        for holder in owner.__mro__:
            if last in vars(holder):
                return holder.__module__, f"{holder.__qualname__}.{last}"
    elif callable(found := getattr(owner, last, None)):
        return found.__module__, found.__qualname__
    raise LookupError(f"tests/mutants/patches.py: {anchor} is gone; name the function that does its work now")


def apply_patch(name: str, qualified: str, module: dict[str, Any]) -> None:
    """Replace a function, method or property of a module that has just been defined."""
    *classes, last = qualified.split(".")
    original = vars(module[classes[0]])[last] if classes else module[last]
    make = PATCHES[name][1]
    if isinstance(original, property):
        replaced: Any = property(make(original.fget))
    else:
        replaced = functools.wraps(original)(make(original))
    if classes:
        setattr(module[classes[0]], last, replaced)
    else:
        module[last] = replaced
