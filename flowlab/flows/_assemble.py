"""Build the flow of an architecture, standardization included; initialize it, and count what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flowlab.bijectors import Bijector, Chain, LowRankAffine, pack_triangular, stages
from flowlab.bijectors.compose import method_of_parts
from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.flows.base import Architecture
from flowlab.seeding import torch_seeded
from flowlab.tables.domains import standardize
from flowlab.targets.base import Standardization, Target

ROWS_OF_STATE = 6  # parameters, gradients, two moments, and the new rows that a step makes
STAGE_BYTES = 10_000  # of a bijector's Python objects, as measured
POINTS = 64  # in the batch that is counted
BASE_SAMPLES = 10_000


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


def glorot_uniform_(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw every parameter from U(-limit, limit), limit = sqrt(6 / (fan in + fan out)): Jang's initialization.

    The fans are as in TensorFlow, whose default this was. A matrix has its two sizes, a vector has its length twice,
    and a number has 1 twice.

    Reference:
        | Understanding the difficulty of training deep feedforward neural networks (Xavier Glorot, Yoshua Bengio, 2010)
        | https://proceedings.mlr.press/v9/glorot10a.html
    """
    with torch.no_grad():
        for parameter in module.parameters():
            fans = (tuple(parameter.shape) * 2 or (1, 1))[:2] if parameter.ndim < 2 else tuple(parameter.shape)
            limit = (6.0 / sum(fans)) ** 0.5
            parameter.uniform_(-limit, limit, generator=generator)


@torch.no_grad()
def cover_(flow: Flow, points: Tensor, generator: torch.Generator | None = None) -> None:
    """Set the last affine map such that the image of the flow covers points, and a tenth more on each side.

    A chain with a bounded activation has a bounded image, and points outside of it have density zero. The map sends the
    interquartile range of its inputs, for samples of the base, to the range of the points, coordinate by coordinate. It
    then stretches further until every point has a positive density.

    Arguments:
        flow: its last layer, or the last before a fixed standardization, is a LowRankAffine.
        points: of shape (n, dim), in the units of the data.
        generator: draws the samples of the base.

    Raises:
        ConfigError: the points cannot be covered: the bounded activations before the map have no precision left.
    """
    layers = stages(flow.bijector)
    place = max(number for number, layer in enumerate(layers) if isinstance(layer, LowRankAffine))
    affine, before = layers[place], Flow(flow.base, Chain(layers[: place + 1]))
    assert isinstance(affine, LowRankAffine)
    for layer in reversed(layers[place + 1 :]):
        points = layer.inverse(points)
    x = flow.base.rsample((BASE_SAMPLES,), generator)
    for layer in layers[:place]:
        x = layer.forward(x)
    (low, high), (least, greatest) = x.quantile(x.new_tensor([0.25, 0.75]), dim=0), points.aminmax(dim=0)
    middle, stretch = (least + greatest) / 2, (greatest - least) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)
    for factor in (1.2**power for power in range(30)):
        wide = factor * stretch
        affine.scale.copy_(wide if affine.scale_kind == "diag" else pack_triangular(wide.diag()))
        affine.shift.add_(middle - affine.forward((low + high) / 2))
        if before.log_prob(middle + 1.1 * (points - middle)).isfinite().all():
            return
    raise ConfigError(
        f"flow.initialization=covering: no stretch of the last of {len(layers)} layers makes the image of the flow "
        "cover the data, because the inverse has no precision left; use a smaller flow.depth, dtype=float64 or "
        "another seed"
    )
