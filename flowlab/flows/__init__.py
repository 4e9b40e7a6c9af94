"""Architectures: the flows that a configuration can name."""

from flowlab.flows.base import Architecture

__all__ = ["Architecture"]
