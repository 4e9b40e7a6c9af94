"""Build the flow of an architecture, for a target or again for a checkpoint; and count what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from flowlab.bijectors import Bijector, stages
from flowlab.bijectors.compose import method_of_parts
from flowlab.config.errors import ConfigError
from flowlab.config.schema import Config
from flowlab.flow import Flow
from flowlab.flows.base import Architecture
from flowlab.seeding import torch_seeded
from flowlab.tables.domains import standardize, to_units
from flowlab.targets.base import Standardization, Target
from flowlab.targets.densities.support import Support

ROWS_OF_STATE = 6  # parameters, gradients, two moments, and the new rows that a step makes
STAGE_BYTES = 10_000  # of a bijector's Python objects, as measured
POINTS = 64  # in the batch that is counted


def assemble(
    architecture: Architecture,
    event_shape: tuple[int, ...],
    context_shape: tuple[int, ...] | None = None,
    generator: torch.Generator | None = None,
    units: Bijector | Standardization | None = None,
    dtype: torch.dtype = torch.float32,
) -> Flow:
    """Build the flow of an architecture before its first training step.

    Arguments:
        architecture: its settings.
        event_shape, context_shape: the shapes of a point and of a context.
        generator: draws the initial parameters, in single precision.
        units: the fixed last bijector, which ends in the units of the data. Or, for a standardization, the center and
            spread of the data, and whether it is robust.
        dtype: the parameters' dtype.

    Raises:
        ConfigError: the settings do not fit the shape of the points, or each other.
    """
    if architecture.vectors_only and len(event_shape) != 1:
        raise ConfigError(
            f"flow={architecture.name}: is for vectors; the points of the target have shape {event_shape}"
        )
    architecture.check(event_shape)
    try:
        signature(architecture.build).bind(event_shape, context_shape, generator)
    except TypeError as error:
        raise ConfigError(
            f"flow={architecture.name}: build: {error}; it must be build(self, event_shape, context_shape, generator)"
        ) from None
    try:
        inner = tuple(units.inverse_shape(torch.Size(event_shape))) if isinstance(units, Bijector) else event_shape
        # Layers such as nn.Linear draw from torch's global stream; a copy leaves the generator's own stream alone.
        with _single_precision(), torch_seeded(generator and generator.clone_state()):
            flow = architecture.build(inner, context_shape, generator)
            if not isinstance(flow, Flow):
                raise ConfigError(
                    f"flow={architecture.name}: build gave a {type(flow).__name__} and must give a Flow, such as "
                    "Flow(StandardNormal(dim), bijector)"
                )
            if units is not None:
                flow = Flow(flow.base, flow.bijector | (standardize(*units) if isinstance(units, tuple) else units))
            return flow.to(dtype)
    except ConfigError:
        raise
    except (ValueError, RuntimeError) as error:  # a setting that the dtype cannot hold
        raise ConfigError(f"the flow cannot be built: {error}") from None


def last_bijector(target: Target, needs_density: bool) -> Bijector | None:
    """The fixed bijector that ends a flow: into the units of a target's data, or onto its support; None without one.

    `needs_density` says whether the objective evaluates the target's density at points of the flow.
    """
    if target.standardization or target.schema:
        return target.to_units()
    support = target.support_of_flow(needs_density)
    return support.bijector() if support else None


def facts_of(module: nn.Module, target: Target | None = None, needs_density: bool = False) -> dict[str, Any]:
    """The facts that, with the configuration, are enough to build the flow of a checkpoint without its data.

    `needs_density` says whether the objective evaluates the target's density.
    """
    facts: dict[str, Any] = {"event_shape": list(module.event_shape)} if isinstance(module, Flow) else {}
    if target is not None and target.context_shape is not None:
        facts["context_shape"] = list(target.context_shape)
    if target is not None and target.schema and (ends := target.schema.domains):
        facts["domains"] = [end.tolist() for end in ends]
    if target is not None and (support := target.support_of_flow(needs_density)):
        facts["support"] = list(support.words)
    return facts | {"standardized": target is not None and target.standardization is not None}


def shapes_of(facts: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shapes of a point and of a context; the first version wrote the dimension of a point alone."""
    event = tuple(facts["event_shape"]) if "event_shape" in facts else (facts["dim"],)
    return event, tuple(facts["context_shape"]) if "context_shape" in facts else None


def assemble_again(
    architecture: Architecture, facts: dict[str, Any], standardized: bool, robust: bool, dtype: torch.dtype
) -> Flow:
    """Build the flow of a checkpoint by its facts; its weights hold the numbers of a standardization.

    Arguments:
        architecture: its settings.
        facts: from `facts_of`.
        standardized: whether it ends in a standardization, if the facts do not say.
        robust: whether that is a robust one.
        dtype: the parameters' dtype.

    Raises:
        ValueError: the facts do not fit each other or the settings.
    """
    shape, context_shape = shapes_of(facts)
    if words := facts.get("support"):
        units = Support.of(words, math.prod(shape)).bijector()
    else:
        scaled = facts.get("standardized", standardized)
        scale = (torch.zeros(shape), torch.ones(shape), robust) if scaled else None
        units = to_units(scale, _domains_of(facts))
    return assemble(architecture, shape, context_shape, torch.Generator(), units, dtype)


def _domains_of(facts: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """The ends of the columns' intervals; None if all columns are real."""
    if facts.get("domains") is None:
        return None
    low, high = np.array(facts["domains"], dtype=np.float64)
    if low.shape != shapes_of(facts)[0] or not (low < high).all():
        raise ValueError("its part 'domains' does not fit the points")
    return low, high


@contextmanager
def _single_precision() -> Iterator[None]:
    """Set torch's default dtype to float32, so a seed gives the same initial parameters in both precisions."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


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
    """Count the costs of an architecture's flow on the meta device, where tensors have shapes but no values.

    None if the flow cannot be built there, as when a constructor reads values.

    Raises:
        ConfigError: a stage of the flow gives points or log dets of a wrong shape.
    """
    kept: list[Tensor] = []
    try:
        with torch.device("meta"):
            flow = assemble(architecture, event_shape, context_shape, None, None, dtype)
            # No backward follows, so nothing reads what the first hook returns, and the second is not called.
            with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda nothing: nothing):
                check_shapes(flow, event_shape, context_shape, dtype)
    except WrongShapeError:
        raise
    except Exception:  # any error of a constructor or a forward that reads values
        return None
    parameters = sum(parameter.numel() for parameter in flow.parameters())
    modules = sum(1 for _ in flow.bijector.modules())
    memory = ROWS_OF_STATE * parameters * dtype.itemsize + modules * STAGE_BYTES
    saved = sum(tensor.numel() * tensor.itemsize for tensor in kept)
    return Costs(parameters, memory, saved // POINTS, modules)


def check_flow(
    architecture: Architecture, shape: tuple[int, ...], context_shape: tuple[int, ...] | None, dtype: torch.dtype
) -> Costs | None:
    """Check that an architecture fits the points, and count the costs of its flow, if they can be counted."""
    costs = count_costs(architecture, shape, context_shape, dtype)
    if costs is None:  # it needs numbers: build it for its errors
        flow = assemble(architecture, shape, context_shape, torch.Generator(), None, dtype)
        with torch.no_grad():
            check_shapes(flow, shape, context_shape, dtype)
    return costs


def check_memory(config: Config, target: Target, costs: Costs | None) -> None:
    """Refuse a flow, a minibatch or a set of points that does not fit into memory, by a ConfigError."""
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


class WrongShapeError(ConfigError):
    """A stage of a flow gives points or log dets of a wrong shape."""


def check_shapes(
    flow: Flow, event_shape: tuple[int, ...], context_shape: tuple[int, ...] | None, dtype: torch.dtype
) -> None:
    """Take points back to the base, stage by stage; raise WrongShapeError, which names the stage, for a wrong shape."""
    x = torch.zeros(POINTS, *event_shape, dtype=dtype)
    context = None if context_shape is None else torch.zeros(POINTS, *context_shape, dtype=dtype)
    method = method_of_parts("inverse_and_log_det")
    for stage in reversed(stages(flow.bijector)):
        y = x
        x, log_det = getattr(stage, method)(y, context)
        if x.shape != y.shape and x.shape != (shape := stage.inverse_shape(y.shape)):
            raise WrongShapeError(
                f"{type(stage).__name__}.inverse_and_log_det: for y of shape {tuple(y.shape)} it gives x of shape "
                f"{tuple(x.shape)}; it must have shape {tuple(shape)}"
            )
        if log_det.shape != (batch := x.shape[: x.ndim - stage.event_dim]):
            raise WrongShapeError(
                f"{type(stage).__name__}.inverse_and_log_det: for y of shape {tuple(y.shape)} it gives a log det of "
                f"shape {tuple(log_det.shape)}; it must have shape {tuple(batch)}: sum over the event alone, as with "
                ".sum(-1) for a vector"
            )
    flow.base.log_prob(x)
