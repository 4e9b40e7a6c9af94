"""Settings of this process that a run changes and restores: threads, garbage collection."""

from __future__ import annotations

import contextlib
import gc
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
def pause_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector while modules are imported: it takes a third of their time and finds little."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
