"""The facts in a checkpoint from which its flow is built again without the data: shapes, domains and the support."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from flowlab.flow import Flow
from flowlab.tables.domains import to_units
from flowlab.targets.densities.support import Support

if TYPE_CHECKING:
    from flowlab.bijectors import Bijector
    from flowlab.targets.base import Target


def state_shape(module: nn.Module, target: Target | None = None, needs_density: bool = False) -> dict[str, Any]:
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


def units_of(checkpoint: dict[str, Any], standardized: bool, robust: bool) -> Bijector | None:
    """The fixed last bijector of a checkpoint's flow, None without one; its weights hold a standardization's numbers.

    Raise ValueError if it does not fit the shape of a point.
    """
    shape = shapes_of(checkpoint)[0]
    if words := checkpoint["flowlab"].get("support"):
        return Support.of(words, math.prod(shape)).bijector()
    scale = (torch.zeros(shape), torch.ones(shape), robust) if standardized else None
    return to_units(scale, domains_of(checkpoint))


def domains_of(checkpoint: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """The ends of the columns' intervals; None if all columns are real.

    Raise ValueError unless they fit the shape of a point.
    """
    ends = checkpoint["flowlab"].get("domains")
    if ends is None:
        return None
    low, high = np.array(ends, dtype=np.float64)
    if low.shape != shapes_of(checkpoint)[0] or not (low < high).all():
        raise ValueError("its part 'domains' does not fit the points")
    return low, high


def shapes_of(checkpoint: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shapes of a point and of a context; the first version wrote the dimension of a point alone."""
    content = checkpoint["flowlab"]
    event = tuple(content["event_shape"]) if "event_shape" in content else (content["dim"],)
    return event, tuple(content["context_shape"]) if "context_shape" in content else None
