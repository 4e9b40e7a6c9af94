"""Targets: distributions with an exact density, the points of a file, and simulations."""

from flowlab.config.errors import DataError
from flowlab.targets.base import Batch, ExactTarget, Target
from flowlab.targets.densities import (
    U1,
    U2,
    U3,
    U4,
    Banana,
    Checkerboard,
    EightGaussians,
    Funnel,
    Gaussian,
    LogDensity,
    RingNorm,
    TwoMoons,
    TwoNorm,
    Uniform,
)
from flowlab.targets.file import FileTarget
from flowlab.targets.flow import FlowTarget
from flowlab.targets.simulator import Simulator

__all__ = [
    "U1",
    "U2",
    "U3",
    "U4",
    "Banana",
    "Batch",
    "Checkerboard",
    "DataError",
    "EightGaussians",
    "ExactTarget",
    "FileTarget",
    "FlowTarget",
    "Funnel",
    "Gaussian",
    "LogDensity",
    "RingNorm",
    "Simulator",
    "Target",
    "TwoMoons",
    "TwoNorm",
    "Uniform",
]
