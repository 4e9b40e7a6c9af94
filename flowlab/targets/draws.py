"""Random numbers on the device of their generator, and points made of coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def stack(*coordinates: Tensor) -> Tensor:
    """Points of shape (*, n) of n coordinates of shape (*)."""
    import torch

    return torch.stack(coordinates, dim=-1)


def randn(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
    """Standard normal numbers on the generator's device; dtype None is float32."""
    import torch

    return torch.randn(shape, generator=generator, dtype=dtype or torch.float32, device=generator.device)


def rand(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
    """Uniform numbers from 0 to 1 on the generator's device; dtype None is float32."""
    import torch

    return torch.rand(shape, generator=generator, dtype=dtype or torch.float32, device=generator.device)
