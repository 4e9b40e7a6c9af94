"""Many points at once, a block at a time, and whether their numbers may be looked at on the way."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

NUMBERS_PER_THREAD = 2**17  # large beside the cost of starting an operation, small beside a cache
MULTIPLE = 64  # of a processor's widest vector: only what is left over at the end of a tensor is rounded otherwise


def are_many(points: Tensor) -> bool:
    """Whether there are more numbers than one block takes."""
    return points.numel() > NUMBERS_PER_THREAD * torch.get_num_threads()


def in_blocks(work: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """work(points), taken of so many rows at a time that what passes between its operations stays small.

    Large tensors that live for one operation cost more than the arithmetic: each is memory that the system has to find,
    clear and take back. Blocks fit into a cache, and the next one takes the memory of the last.

    The rows lie along the first dimension, and `work` must treat each alone. A few points are one block.

    Example:
        >>> import torch
        >>> from flowlab.bijectors.blocks import in_blocks
        >>> in_blocks(torch.exp, torch.zeros(10**6)).sum()
        tensor(1000000.)
    """
    fitting = NUMBERS_PER_THREAD * torch.get_num_threads() // max(1, math.prod(points.shape[1:]))
    rows = max(1, fitting // MULTIPLE) * MULTIPLE
    return work(points) if len(points) <= rows else torch.cat([work(block) for block in points.split(rows)])


def may_look(points: Tensor) -> bool:
    """Whether Python may decide by the numbers in `points`: they lie in the memory of the CPU and are no stand-ins.

    While gradients are recorded the answer is no, so that what is recorded does not depend on the numbers; nor may
    a graph that is traced or compiled, and under `vmap` there is no one answer for all.

    Example:
        >>> import torch
        >>> from flowlab.bijectors.blocks import may_look
        >>> may_look(torch.zeros(2)), torch.no_grad()(may_look)(torch.zeros(2))
        (False, True)
    """
    watched = (  # of torch's own names for these two states none is public; seen to work in 2.13
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
    )
    return not watched and type(points) is Tensor and points.device.type == "cpu"
