"""A user's log density and its support, for a flow in memory."""

from __future__ import annotations

from typing import Any

from torch import nn

from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.targets.base import Target
from flowlab.targets.densities.log_density import LogDensity
from flowlab.targets.densities.support import Support


def target_of(log_density: Any, support: Any, flow: nn.Module, data: Any) -> Any:
    """The target of a log density, or the data if there is none.

    Raises:
        ConfigError: there are neither data nor a log density, or both; or the flow or the support do not fit.
    """
    if log_density is None:
        if data is None:
            raise ConfigError("fit: give data, or log_density=f with f(x) of shape (n,) for points x of shape (n, d)")
        if support is not None:
            raise ConfigError("support: belongs to log_density; a Target names its own support; leave it out")
        return data
    if data is not None:
        raise ConfigError("log_density: trains without data; leave out one of the two")
    if not callable(log_density) or not isinstance(flow, Flow):
        raise ConfigError(
            f"log_density: takes a function and trains a Flow, and got a {type(log_density).__name__} and a "
            f"{type(flow).__name__}; give f with f(x) of shape (n,) for points x of shape (n, d)"
        )
    if len(flow.event_shape) != 1:
        raise ConfigError(
            f"log_density: needs a flow of vectors, and this one has points of shape {tuple(flow.event_shape)}; use a "
            "base such as StandardNormal(dim)"
        )
    (size,) = flow.event_shape
    words = Support.of(support, size) if _ends_in(flow, support) else Support.onto(support, size)
    return LogDensity(log_density, words.dim, words.words)


def onto_support(flow: Flow, target: Target) -> Flow:
    """A flow followed by the fixed map onto the support of its target, unless it ends there already."""
    support = target.support_of_flow(needs_density=True)
    bijector = support.bijector() if support else None
    if support is None or bijector is None or _ends_in(flow, support.words):
        return flow
    return Flow(flow.base, flow.bijector | bijector.to(flow.anchor))


def _ends_in(flow: Flow, support: Any) -> bool:
    """Whether a flow maps onto a support: by its whole image where that is known, or else by its last bijector."""
    distribution = flow.distribution()
    image = distribution.known_support() or distribution.support
    try:
        return Support.of(support, flow.event_shape[-1]).is_equal(image)
    except ConfigError:
        return False
