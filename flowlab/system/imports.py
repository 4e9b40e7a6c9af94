"""The garbage collector, which costs a process more than it finds where much is imported."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import without looking for garbage, of which imports make little: a third of their time, and of the exit's."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
