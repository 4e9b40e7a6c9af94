"""The memory that a flow needs, counted on the meta device, where tensors have shapes but no values."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from flowlab.flows._assemble import assemble
from flowlab.flows.base import Architecture

ROWS_OF_STATE = 6  # parameters, gradients, two moments, and the new rows that a step makes
STAGE_BYTES = 10_000  # of a bijector's Python objects, as measured
POINTS = 64  # in the batch that is counted


@dataclass(frozen=True)
class Costs:
    """The costs of a flow.

    Attributes:
        parameters: the number of parameters.
        memory: bytes for the parameters, their gradients, the optimizer's moments and the modules.
        memory_of_point: bytes that a training step keeps for a point.
        stages: the number of bijectors that a point goes through, which the time of a step depends on.
    """

    parameters: int
    memory: int
    memory_of_point: int
    stages: int

    def of_step(self, batch_size: int) -> int:
        """Bytes of a training step: the values kept for the gradient, and as many again while it is computed."""
        return 2 * self.memory_of_point * batch_size


def count_costs(
    architecture: Architecture,
    event_shape: tuple[int, ...],
    context_shape: tuple[int, ...] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Costs | None:
    """Count the costs of an architecture's flow without allocating it.

    None if the flow cannot be built on the meta device, as when a constructor reads values.
    """
    sizes: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel() * tensor.itemsize)
        return tensor

    try:
        with torch.device("meta"):
            flow = assemble(architecture, event_shape, context_shape, None, None, dtype)
            x = torch.zeros(POINTS, *event_shape, dtype=dtype)
            context = None if context_shape is None else torch.zeros(POINTS, *context_shape, dtype=dtype)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                flow.log_prob(x, context)
    except Exception:  # any error of a constructor or a forward that reads values
        return None
    parameters = sum(parameter.numel() for parameter in flow.parameters())
    stages = sum(1 for _ in flow.bijector.modules())
    memory = ROWS_OF_STATE * parameters * dtype.itemsize + stages * STAGE_BYTES
    return Costs(parameters, memory, sum(sizes) // POINTS, stages)
