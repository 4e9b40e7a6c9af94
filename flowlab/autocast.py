"""Flows inside `torch.autocast`: products of points with matrices run in its dtype, all other operations do not.

By itself autocast lowers every product of float32 matrices, also inside a log det. torch can neither solve with the
result nor factorize it. So every method of a bijector runs outside of autocast, except for the products that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)

Multiply = Callable[[Tensor, Tensor], Tensor]


def is_autocast_on(tensor: Tensor) -> bool:
    """Whether autocast is enabled here on the device of a tensor."""
    if not torch._C._is_any_autocast_enabled():  # not public, but ten times as fast; it works in 2.13
        return False
    kind = tensor.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


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


def product(left: Tensor, right: Tensor, multiply: Multiply = torch.matmul) -> Tensor:
    """multiply(left, right) in autocast's dtype, returned in the dtype of `left`; float64 stays, as in autocast itself.

    Arguments:
        left, right: points and a matrix, in either order.
        multiply: the product; default `left @ right`.

    Example:
        >>> import torch
        >>> from flowlab.autocast import product
        >>> x = torch.full((1, 1), 1.001)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     product(x, x)
        tensor([[1.]])
    """
    if not is_autocast_on(left) or left.dtype == torch.float64:
        return multiply(left, right)
    half = torch.get_autocast_dtype(left.device.type)
    with full_precision(left):
        return multiply(left.to(half), right.to(half)).to(left.dtype)


def upcast(value: Any) -> Any:
    """Convert a half-precision tensor to float32; return anything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value


def call_upcast(method: Callable[..., Any], points: Tensor, context: Any, inside: bool) -> Any:
    """Call a method of a bijector with its tensors upcast, as a surrounding autocast requires.

    The image is returned in the dtype of the points; the log det stays float32.

    Arguments:
        method: takes points and a context, and returns an image, or an image and a log det.
        points, context: its arguments.
        inside: run inside autocast: the method lowers its products itself. Otherwise autocast is disabled.
    """
    with nullcontext() if inside else full_precision(points):
        result = method(upcast(points), upcast(context))
    if points.dtype not in HALF:
        return result
    return result.to(points.dtype) if isinstance(result, Tensor) else (result[0].to(points.dtype), result[1])
