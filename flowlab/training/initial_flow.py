"""The flow of a run before its first step."""

from __future__ import annotations

import torch

from flowlab.config.schemas import Config, FileConfig, FlowConfig
from flowlab.flow import Flow
from flowlab.flows.mlp import COVERING, build_flow, cover_
from flowlab.seeding import generator
from flowlab.targets.base import Target
from flowlab.targets.file import FileTarget


def is_standardized(config: Config) -> bool:
    """Whether the last bijector of its flow is fixed, and brings it to the units of the data."""
    return isinstance(config.target, FileConfig) and config.target.standardize


def initial_flow(config: Config, target: Target) -> Flow:
    """The flow before its first step, drawn from the seed.

    Raises:
        ConfigError: it cannot be built, or its start cannot cover the data.
    """
    place = (target.mean, target.deviation) if is_standardized(config) and isinstance(target, FileTarget) else None
    start, dtype = generator(config.seed, "start"), getattr(torch, config.dtype)
    flow = build_flow(config.flow, target.dim, start, place, dtype)
    if isinstance(config.flow, FlowConfig) and config.flow.start == "covering":
        cover_(flow, target.rows("train", COVERING, config.seed, dtype), start)
    return flow
