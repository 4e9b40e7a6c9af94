"""The memory that a flow needs, counted on the meta device, where tensors have shapes and no numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import psutil
import torch

from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.flow import Flow
from flowlab.flows._assemble import assemble
from flowlab.targets.base import Batch, Target

ROWS_OF_STATE = 6  # parameters, gradient and two moments, and the new ones that a step makes
STAGE_BYTES = 10_000  # of a bijector's Python objects, as measured
POINTS = 64  # in the batch that is counted


@dataclass(frozen=True)
class Costs:
    """The costs of a flow.

    Attributes:
        parameters: how many numbers it learns.
        memory: bytes for the parameters, their gradients, the optimizer's moments and the modules.
        memory_of_point: bytes that a training step keeps for a point.
        stages: how many bijectors a point goes through, by which the time of a step is judged.
    """

    parameters: int
    memory: int
    memory_of_point: int
    stages: int

    def of_step(self, batch_size: int) -> int:
        """Bytes that a training step takes: values kept for the gradient, and as many while it is computed."""
        return 2 * self.memory_of_point * batch_size


def count_costs(config: Config, target: Target) -> Costs | None:
    """Count the costs of a configuration's flow without allocating it.

    None if the flow cannot be built without numbers, as where a constructor looks at its values.
    """
    shape, dtype = tuple(target.event_shape), getattr(torch, config.dtype)
    try:
        with torch.device("meta"):
            flow = assemble(config.flow, shape, target.context_shape, None, None, dtype)
            parameters = sum(parameter.numel() for parameter in flow.parameters())
            kept = _bytes_kept(flow, target, dtype)
    except Exception:  # whatever a constructor or a forward does that needs numbers
        return None
    stages = sum(1 for _ in flow.bijector.modules())
    memory = ROWS_OF_STATE * parameters * dtype.itemsize + stages * STAGE_BYTES
    return Costs(parameters, memory, kept // POINTS, stages)


def _bytes_kept(flow: Flow, target: Target, dtype: torch.dtype) -> int:
    """Bytes that a log density keeps for its gradient, beside the parameters."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[id(tensor.untyped_storage())] = tensor.numel() * tensor.itemsize
        return tensor

    x = torch.zeros(POINTS, *target.event_shape, dtype=dtype)
    context = None if target.context_shape is None else torch.zeros(POINTS, *target.context_shape, dtype=dtype)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        flow.log_prob(*Batch(x, context)).sum()
    return sum(kept.values())


def check_memory(config: Config, target: Target, costs: Costs | None) -> None:
    """Refuse sizes that do not fit into memory.

    Raises:
        ConfigError: the flow, a minibatch or a set of points is too large.
    """
    free = psutil.virtual_memory().available
    point = math.prod(target.event_shape) * getattr(torch, config.dtype).itemsize
    rows = (0 if target.fingerprint else target.train_size) or 0
    needs = [
        ("validation_size", config.validation_size, 4 * config.validation_size * point),
        ("test_size", config.test_size, 8 * config.test_size * point),
        ("target.train_size", rows, 4 * rows * point),
    ]
    if costs is not None:
        needs.insert(0, ("batch_size", config.batch_size, costs.of_step(config.batch_size)))
        if costs.memory > free:
            raise ConfigError(
                f"flow={config.flow.name}: for the {target.dim} columns of the target the flow would have "
                f"{costs.parameters:,} parameters and training would take {costs.memory / 1e9:,.1f} GB where "
                f"{free / 1e9:,.1f} GB are free: pick columns with target.columns, or make the flow smaller, as with "
                "flow.depth or flow.scale=diag"
            )
    for name, count, needed in needs:
        if needed > free:
            raise ConfigError(
                f"{name}={count}: would take about {needed / 1e9:,.0f} GB where {free / 1e9:,.1f} GB are free"
            )
