"""Flows inside `torch.autocast`: products of points with matrices run in its dtype, all other operations do not.

By itself autocast lowers every product of float32 matrices, also inside a log det. torch can neither solve with the
result nor factorize it. So every method of a bijector runs outside of autocast, except for those that it names.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)

# Whether autocast is enabled on some device. It is not public, but ten times as fast as to ask; it works in 2.13.
is_any_autocast_on = torch._C._is_any_autocast_enabled


def is_autocast_on(tensor: Tensor) -> bool:
    """Whether autocast is enabled here on the device of a tensor."""
    kind = tensor.device.type
    return is_any_autocast_on() and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """A context that disables autocast on the device of a tensor.

    Example:
        >>> import torch
        >>> from flowlab.autocast import full_precision
        >>> x = torch.eye(2)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     print((x @ x).dtype)
        ...     with full_precision(x):
        ...         print((x @ x).dtype)
        torch.bfloat16
        torch.float32
    """
    return torch.autocast(tensor.device.type, enabled=False) if is_autocast_on(tensor) else nullcontext()


def upcast(value: Any) -> Any:
    """Convert a half-precision tensor to float32; return anything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value
