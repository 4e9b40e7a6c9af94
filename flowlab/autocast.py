"""What `torch.autocast` around a flow changes: products of points with matrices are in its dtype, all else as without.

Autocast lowers every product of float32 matrices, also those inside a log det, and gives what torch then can neither
solve with nor factorise. So whatever is no product of points is taken outside of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)

Multiply = Callable[[Tensor, Tensor], Tensor]


def lowers(tensor: Tensor) -> bool:
    """Whether autocast is on around this call, on the device of a tensor."""
    kind = tensor.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Autocast switched off on the device of a tensor.

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
    return torch.autocast(tensor.device.type, enabled=False) if lowers(tensor) else nullcontext()


def product(left: Tensor, right: Tensor, multiply: Multiply = torch.matmul) -> Tensor:
    """multiply(left, right), in the dtype of a surrounding autocast, given back in that of `left`.

    As autocast itself does, it leaves float64 alone.

    Arguments:
        left, right: points and a matrix, in either order.
        multiply: what multiplies them; default `left @ right`.

    Example:
        >>> import torch
        >>> from flowlab.autocast import product
        >>> x = torch.full((1, 1), 1.001)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     product(x, x)
        tensor([[1.]])
    """
    if not lowers(left) or left.dtype == torch.float64:
        return multiply(left, right)
    half = torch.get_autocast_dtype(left.device.type)
    with full_precision(left):
        return multiply(left.to(half), right.to(half)).to(left.dtype)


def raised(value: Any) -> Any:
    """A tensor in half precision as float32, anything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value


def minds_autocast(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a bijector, taken outside of any autocast unless the bijector is `mixed`.

    Inside autocast points may come in half precision from another layer. They are then taken as float32; the image is
    given back in their dtype, and the log det stays float32.
    """

    @functools.wraps(method)
    def minded(self: Any, *given: Any, **named: Any) -> Any:
        points = given[0] if given else next(value for name, value in named.items() if name != "context")
        if not lowers(points):
            return method(self, *given, **named)
        with nullcontext() if self.mixed else full_precision(points):
            result = method(self, *map(raised, given), **{name: raised(value) for name, value in named.items()})
        if points.dtype not in HALF:
            return result
        return result.to(points.dtype) if isinstance(result, Tensor) else (result[0].to(points.dtype), result[1])

    return minded
