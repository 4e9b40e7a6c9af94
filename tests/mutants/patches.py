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
from torch.utils import _pytree as pytree


def change_arguments(**changes: Any) -> Callable:
    """Replace arguments by constants, or by a function of the given argument."""

    def make(function: Callable) -> Callable:
        signature = inspect.signature(function)
        if not changes.keys() <= signature.parameters.keys():
            raise LookupError(f"{function.__qualname__} has no argument {', '.join(changes)}; it has {signature}")

        def mutated(*given, **named):
            bound = signature.bind(*given, **named)
            bound.apply_defaults()
            for name, change in changes.items():
                bound.arguments[name] = change(bound.arguments[name]) if callable(change) else change
            return function(*bound.args, **bound.kwargs)

        return mutated

    return make


def change_output(change: Callable) -> Callable:
    """Change the result of a function; a pair is passed to `change` as two arguments."""

    def make(function: Callable) -> Callable:
        def mutated(*given, **named):
            output = function(*given, **named)
            return change(*output) if isinstance(output, tuple) else change(output)

        return mutated

    return make


def replace_by(function: Callable) -> Callable:
    """Replace the whole function."""
    return lambda original: lambda *given, **named: function(*given, **named)


def unpickle_anything(read: Callable) -> Callable:
    """Let a function that calls `torch.load` load any object."""
    load = functools.partial(torch.load)

    def mutated(*given, **named):
        with mock.patch.object(
            torch, "load", lambda *file, **options: load(*file, **options | {"weights_only": False})
        ):
            return read(*given, **named)

    return mutated


def forget_moments(state: Any) -> Any:
    """Return a training state whose moments are 0."""
    return state._replace(moments=tuple(torch.zeros_like(moment) for moment in state.moments))


# name of a mutant -> the function, how to change it, and the tests to run if not the tests of its module
PATCHES: dict[str, tuple] = {
    # seeds and data
    "the seed is lost": ("flowlab.seeding.generator", change_arguments(seed=0)),
    "all purposes share one stream": ("flowlab.seeding.generator", change_arguments(purpose="train")),
    "a minibatch ignores the step": (
        "flowlab.seeding.generator",
        change_arguments(step=0),
        "tests/training/test_build.py",
    ),
    "samples of a flow ignore the generator": ("flowlab.flow.Flow.sample", change_arguments(generator=None)),
    "test points are training points": (
        "flowlab.targets.ExactTarget.rows",
        change_arguments(split="train"),
        "tests/targets/test_exact.py",
    ),
    "rows that were trained on are tested": ("flowlab.targets.FileTarget.rows", change_arguments(split="train")),
    "the order of rows ignores the seed": ("flowlab.training.build.epoch_batches", change_arguments(seed=0)),
    "a rank takes a stretch of the minibatch": (
        "flowlab.distributed.world.World.shard",
        replace_by(
            lambda self, batch: pytree.tree_map_only(
                torch.Tensor, lambda x: x.tensor_split(self.size)[self.rank], batch
            )
        ),
    ),
    # bijectors
    "gradients stop at the inverse of an affine map": (
        "flowlab.bijectors.LowRankAffine.inverse_and_log_det",
        change_arguments(y=torch.detach),
    ),
    "gradients stop at the log det of Tanh": (
        "flowlab.bijectors.Tanh.forward_and_log_det",
        change_output(lambda y, log_det: (y, log_det.detach())),
    ),
    "SmoothPReLU computes in single precision": (
        "flowlab.bijectors.SmoothPReLU.forward_and_log_det",
        change_arguments(x=lambda x: x.float().to(x.dtype)),
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
    "Inline drops its context": (
        "flowlab.bijectors.Inline.forward_and_log_det",
        change_arguments(context=lambda context: None if context is None else context * 0),
    ),
    "constants of a bijector are not saved": (
        "flowlab.bijectors.AffineScalar.__init__",
        lambda init: (
            lambda self, *given, **named: (
                init(self, *given, **named) or self._non_persistent_buffers_set.update(self._buffers)
            )
        ),
    ),
    # maps, couplings and autoregressive bijectors
    "the log det of a spline jumps at its box": (
        "flowlab.bijectors.maps.spline._edge_slope",
        replace_by(lambda s, d: torch.ones_like(s)),
    ),
    "the slopes of a spline have no limit": (
        "flowlab.bijectors.maps.spline.bounded_exp",
        replace_by(lambda raw, limit: raw.exp()),
    ),
    "the slope of a circular spline jumps at its seam": (
        "flowlab.bijectors.maps.CircularSpline._slopes",
        replace_by(lambda self, learned, mean: torch.cat([learned, learned[..., -1:]], -1)),
    ),
    "gradients stop at the inverse of a monotone map": (
        "flowlab.bijectors.maps.Monotone.inverse_and_log_det",
        change_output(lambda x, log_det: (x.detach(), log_det)),
        "tests/bijectors/maps/test_maps.py",
    ),
    "an elementwise map takes its parameters in reverse": (
        "flowlab.bijectors.maps.Elementwise._apply",
        change_arguments(parameters=lambda parameters: parameters.flip(-1)),
        "tests/bijectors/maps/test_maps.py",
    ),
    "a coupling drops its context": (
        "flowlab.bijectors.Coupling._move",
        change_arguments(context=None),
        "tests/bijectors/test_coupling.py",
    ),
    "masks are not applied": (
        "flowlab.networks.MaskedMLP.masked_weights",
        replace_by(lambda self: list(self.weights)),
        "tests/networks/test_networks.py",
    ),
    "the slow direction has the gradients of one round": (
        "flowlab.bijectors.autoregressive._AtSolution.backward",
        replace_by(lambda ctx, grad_y, grad_log_det: (grad_y, grad_log_det, None)),
        "tests/bijectors/test_autoregressive.py",
    ),
    "the slow direction stops after one round": (
        "flowlab.bijectors.autoregressive._changes",
        replace_by(lambda after, before, size: torch.zeros_like(after[..., :1], dtype=torch.bool)),
        "tests/bijectors/test_autoregressive.py",
    ),
    "a Householder map is its own inverse": (
        "flowlab.bijectors.Householder._reflect",
        change_arguments(transposed=False),
        "tests/bijectors/linear/test_householder.py",
    ),
    "a rotation ignores the generator": (
        "flowlab.bijectors.linear.lu.draw_rotation",
        change_arguments(generator=None),
        "tests/bijectors/linear/test_lu.py",
    ),
    # flows and objectives
    "the density outside the support is NaN": (
        "flowlab.flow.Flow.log_prob",
        change_output(lambda log_prob: log_prob.masked_fill(log_prob == -torch.inf, torch.nan)),
    ),
    "no gradient flows through samples": ("flowlab.flow.Flow.rsample", change_output(torch.detach)),
    "a loss is a sum over the minibatch": (
        "flowlab.objectives.base.MaximumLikelihood.__call__",
        lambda call: lambda self, flow, batch, target: call(self, flow, batch, target) * len(batch.x),
        "tests/training/test_loop.py",
    ),
    # training and resume
    "the learning rate is one step ahead": (
        "flowlab.optimizers.base.Optimizer.learning_rate",
        change_arguments(step=lambda step: step + 1),
        "tests/training/test_loop.py",
    ),
    "a resumed job counts one step too many": (
        "flowlab.training.step.read_state",
        change_arguments(steps=lambda steps: steps + 1),
        "tests/training/test_step.py",
    ),
    "Adam's moments are lost": (
        "flowlab.training.step.read_state",
        lambda read: lambda *given, **named: forget_moments(read(*given, **named)),
        "tests/training/test_step.py",
    ),
    "a resumed run forgets the losses since its last row": (
        "flowlab.runs.record.Record.load_state_dict",
        change_arguments(state=lambda state: state | {"window": []}),
    ),
    "a row that a resumed run computes again is written twice": (
        "flowlab.loggers.base.CSVMetrics.log_metrics",
        lambda original: lambda self, *given, **named: (setattr(self, "last_step", 0), original(self, *given, **named)),
    ),
    # files, safety, claims
    "a checkpoint is not flushed to the disk": ("flowlab.system.files.sync", replace_by(lambda path: None)),
    "a file is written in place": (
        "flowlab.system.files.write_atomically",
        replace_by(lambda path, write: write(path)),
    ),
    "reading a checkpoint executes code": (
        "flowlab.system.files.read_checkpoint",
        unpickle_anything,
        "tests/system/test_checkpoints.py",
    ),
    "secrets are written as they are": ("flowlab.config.security.redact", replace_by(lambda text: text)),
    "configurations may name any class": ("flowlab.config.security.check_name", replace_by(lambda where, path: None)),
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
    """Replace a function, method or property in the namespace of a module that has just been defined."""
    *classes, last = qualified.split(".")
    owner = module[classes[0]] if classes else None
    original = vars(owner)[last] if owner else module[last]
    make = PATCHES[name][1]
    is_property = isinstance(original, property)
    mutated = property(make(original.fget)) if is_property else functools.wraps(original)(make(original))
    if owner:
        setattr(owner, last, mutated)
        if hasattr(owner, f"unchecked_{last}"):  # what chains and flows call
            setattr(owner, f"unchecked_{last}", mutated)
    else:
        module[last] = mutated
