"""A flow from its architecture: drawn in single precision, and in the units of the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from flowlab.bijectors import AffineScalar
from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.flows.base import Architecture


def assemble(
    architecture: Architecture,
    event_shape: tuple[int, ...],
    context_shape: tuple[int, ...] | None = None,
    generator: torch.Generator | None = None,
    standardization: tuple[Tensor, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Flow:
    """The flow of an architecture before its first step.

    Arguments:
        architecture: its settings.
        event_shape, context_shape: the shapes of a point and of a context.
        generator: draws the initial parameters.
        standardization: mean and standard deviation of the data; they become the last bijector, which is fixed, so
            densities are in the units of the data.
        dtype: the parameters' dtype.

    Raises:
        ConfigError: settings that do not fit the shape of the points, or each other.
    """
    architecture.check(event_shape)
    try:
        with _single_precision():
            flow = architecture.build(event_shape, context_shape, generator)
            if standardization is not None:
                mean, deviation = standardization
                flow = Flow(flow.base, flow.bijector | AffineScalar(shift=mean, scale=deviation))
            return flow.to(dtype)
    except ConfigError:
        raise
    except (ValueError, RuntimeError) as error:  # numbers that the configuration allows and the dtype does not
        raise ConfigError(f"the flow cannot be built: {error}") from None


@contextmanager
def _single_precision() -> Iterator[None]:
    """Make initial parameters the same numbers in both precisions, whatever torch's default dtype is."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(default)
