"""Precision: points and parameters of different dtypes, half precision, and flows inside `torch.autocast`.

Points and parameters of different dtypes are computed in the wider one. torch can neither solve nor factorize in half
precision; flowlab does both in float32. It rounds points back to half precision, but no log dets and densities.

By itself autocast lowers every product of float32 matrices, also inside a log det. So every method of a bijector runs
outside of autocast, except for those that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

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
    """Convert a half-precision tensor to float32; return anything else unchanged."""
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value


def call_converted(
    module: nn.Module, own: torch.dtype | None, name: str, method: Callable[..., Any], points: Tensor, context: Any
) -> Any:
    """A method of a bijector on points of any real dtype, or inside autocast; a ValueError for complex points."""
    if points.is_complex():
        raise ValueError(f"{type(module).__name__}: points are complex; give real numbers, as torch.view_as_real does")
    points = points if points.is_floating_point() else points.to(own or torch.get_default_dtype())
    if not is_autocast_on(points):
        return call_in_common(module, own, method, points, context)
    with nullcontext() if name in module.handles_autocast else full_precision(points):  # type: ignore[operator]
        result = method(module, upcast(points), upcast(context))
    if points.dtype not in HALF:
        return result
    return result.to(points.dtype) if isinstance(result, Tensor) else (result[0].to(points.dtype), result[1])


def call_in_common(module: nn.Module, own: torch.dtype | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(module, *arguments) in the wider of the dtypes of a module and of its first argument, at least float32.

    The first result, points, is rounded to half precision where both are in it. Gradients reach the parameters.
    """
    common = torch.promote_types(arguments[0].dtype, own or arguments[0].dtype)
    result = call_in(torch.float32 if common in HALF else common, module, function, *arguments)
    if common not in HALF:
        return result
    return result.to(common) if isinstance(result, Tensor) else (result[0].to(common), *result[1:])


def call_in(dtype: torch.dtype, module: nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(module, *arguments) with all floating-point tensors of the module and the arguments in one dtype."""

    def convert(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    tensors = {f"module.{name}": convert(each) for name, each in [*module.named_parameters(), *module.named_buffers()]}
    return torch.func.functional_call(_Call(module, function), tensors, tuple(map(convert, arguments)))


class _Call(nn.Module):
    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *arguments: Any) -> Any:
        return self.function(self.module, *arguments)
