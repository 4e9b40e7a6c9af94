"""What can be refused before a run begins, and is."""

from __future__ import annotations

import psutil
import torch

from flowlab.config.schemas import Config, ConfigError
from flowlab.constraints import is_unbounded
from flowlab.distributed.cluster import check_started
from flowlab.distributed.devices import check_devices
from flowlab.flows.mlp import check_flow, layers
from flowlab.loggers.open import check_logger
from flowlab.targets.base import ExactTarget, Target
from flowlab.targets.build import build_target
from flowlab.targets.file import FileTarget
from flowlab.training.compile import choose
from flowlab.training.initial_flow import initial_flow


def check_run(config: Config, here: bool = True) -> Target:
    """Refuse what cannot be run, before anything is written; gives the target, since it had to be built for that.

    Arguments:
        config: of the run.
        here: it will run on this machine; otherwise, what that has is no matter.

    Raises:
        ConfigError: parts of the configuration that do not fit each other or this machine.
    """
    target = build_target(config.target)
    dtype = getattr(torch, config.dtype)
    check_flow(config.flow, target.dim, dtype)
    if here:
        check_started(config.trainer)
        _check_memory(config, target.dim, dtype)
        check_devices(config.trainer)
        choose(config)
    if isinstance(target, FileTarget):
        target.check_precision(dtype)
    elif not target.rows("validation", 64, config.seed, dtype).isfinite().all():
        raise ConfigError(
            f"target={config.target.name}: has points that dtype={config.dtype} does not hold; use smaller numbers"
            + (" or dtype=float64" if config.dtype == "float32" else "")
        )
    try:
        initial_flow(config, target)
    except ConfigError:
        raise
    except (ValueError, RuntimeError) as error:  # numbers that the configuration lets through and the type does not
        raise ConfigError(f"the flow cannot be built: {error}") from None
    check_logger(config)
    if config.objective.name == "reverse_kl":
        if not isinstance(target, ExactTarget) or not is_unbounded(target.support):
            raise ConfigError(
                f"objective=reverse_kl: needs a target whose density is known and positive everywhere; "
                f"target={config.target.name} has none; use objective=maximum_likelihood"
            )
        if target.train_size is not None:
            raise ConfigError("target.train_size: objective=reverse_kl trains on no data; leave it null")
    if config.trainer.precision == "bf16-mixed" and config.dtype != "float32":
        raise ConfigError(
            f"trainer.precision=bf16-mixed: lowers products of float32, but dtype={config.dtype}; use dtype=float32 or "
            "trainer.precision=full"
        )
    if config.batch_size % config.trainer.processes:
        raise ConfigError(
            f"batch_size={config.batch_size}: is shared by {config.trainer.processes} processes, "
            f"trainer.devices={config.trainer.devices} on each of trainer.nodes={config.trainer.nodes}, and must be a "
            "multiple of their number"
        )
    return target


def bytes_of_step(config: Config, dim: int) -> int:
    """Memory that a training step takes: measured were about 13 numbers a layer for each coordinate of a minibatch."""
    return 16 * layers(config.flow) * config.batch_size * dim * getattr(torch, config.dtype).itemsize


def _check_memory(config: Config, dim: int, dtype: torch.dtype) -> None:
    """Refuse sizes that cannot be held."""
    available = psutil.virtual_memory().available
    rows = getattr(config.target, "train_size", None) or 0
    for name, count, needed in (
        ("batch_size", config.batch_size, bytes_of_step(config, dim)),
        ("validation_size", config.validation_size, config.validation_size * dim * 4 * dtype.itemsize),
        ("test_size", config.test_size, config.test_size * dim * 8 * dtype.itemsize),
        ("target.train_size", rows, rows * dim * 4 * dtype.itemsize),
    ):
        if needed > available:
            raise ConfigError(
                f"{name}={count}: would take about {needed / 1e9:,.0f} GB where {available / 1e9:,.1f} GB are free"
            )
