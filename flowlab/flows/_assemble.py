"""Build the flow of an architecture, standardization included, with initial parameters drawn in single precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from flowlab.bijectors import AffineScalar
from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.flows.base import Architecture
from flowlab.seeding import torch_seeded


def assemble(
    architecture: Architecture,
    event_shape: tuple[int, ...],
    context_shape: tuple[int, ...] | None = None,
    generator: torch.Generator | None = None,
    standardization: tuple[Tensor, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Flow:
    """Build the flow of an architecture before its first training step.

    Arguments:
        architecture: its settings.
        event_shape, context_shape: the shapes of a point and of a context.
        generator: draws the initial parameters.
        standardization: mean and standard deviation of the data; they become a fixed last bijector, so densities are
            in the units of the data.
        dtype: the parameters' dtype.

    Raises:
        ConfigError: the settings do not fit the shape of the points, or each other.
    """
    architecture.check(event_shape)
    try:
        # Layers such as nn.Linear draw from torch's global stream; a copy leaves the generator's own stream as it is.
        with _single_precision(), torch_seeded(generator and generator.clone_state()):
            flow = architecture.build(event_shape, context_shape, generator)
            if standardization is not None:
                mean, deviation = standardization
                flow = Flow(flow.base, flow.bijector | AffineScalar(shift=mean, scale=deviation))
            return flow.to(dtype)
    except ConfigError:
        raise
    except (ValueError, RuntimeError) as error:  # a setting that the dtype cannot hold
        raise ConfigError(f"the flow cannot be built: {error}") from None


@contextmanager
def _single_precision() -> Iterator[None]:
    """Set torch's default dtype to float32, so a seed gives the same initial parameters in both precisions."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(default)
