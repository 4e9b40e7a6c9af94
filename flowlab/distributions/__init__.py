"""Distributions: bases as modules, and named distributions, each a base under bijectors of the library."""

from flowlab.distributions.base import Base, GumbelDifferences, StandardNormal
from flowlab.distributions.named import Gumbel, GumbelSoftmax, LogNormal

__all__ = ["Base", "Gumbel", "GumbelDifferences", "GumbelSoftmax", "LogNormal", "StandardNormal"]
