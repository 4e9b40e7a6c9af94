"""Settings of this process that a run changes and restores: threads, Lightning's messages, garbage collection."""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def set_threads(count: int | None) -> Iterator[None]:
    """Set the number of torch's threads inside the block; None keeps it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def silence_lightning() -> Iterator[None]:
    """Drop Lightning's messages about devices and data loaders inside the block; they do not apply here."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", module="lightning_fabric")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector while modules are imported: it takes a third of their time and finds little."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
