"""A function of many rows, computed a block of rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

NUMBERS_PER_THREAD = 2**17  # large enough to hide the start of an operation, small enough for a cache
MULTIPLE = 64  # of the widest vector of a processor: only the remainder at the end of a tensor is rounded differently


def map_blocks(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """function(points), computed a block of rows at a time, so that intermediate results fit into a cache.

    A large tensor that lives for one operation costs more than the arithmetic: the system allocates, clears and frees
    its memory. Small blocks reuse the same memory.

    Arguments:
        function: it maps each row, along the first dimension, independently of the others.
        points: of shape (n, ...).

    Example:
        >>> import torch
        >>> from flowlab.system.blocks import map_blocks
        >>> map_blocks(torch.exp, torch.zeros(10**6)).sum()
        tensor(1000000.)
    """
    fitting = NUMBERS_PER_THREAD * torch.get_num_threads() // max(1, math.prod(points.shape[1:]))
    rows = max(1, fitting // MULTIPLE) * MULTIPLE
    return function(points) if len(points) <= rows else torch.cat([function(block) for block in points.split(rows)])
