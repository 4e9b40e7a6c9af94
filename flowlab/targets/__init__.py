"""Targets: distributions with an exact density, the points of a file, and simulations."""

from flowlab.config.errors import DataError
from flowlab.targets.base import Batch, ExactTarget, Target
from flowlab.targets.file import FileTarget
from flowlab.targets.flow import FlowTarget
from flowlab.targets.gaussian import Banana, Funnel, Gaussian
from flowlab.targets.shapes import Checkerboard, EightGaussians, TwoMoons, Uniform
from flowlab.targets.simulator import Simulator

__all__ = [
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
    "Simulator",
    "Target",
    "TwoMoons",
    "Uniform",
]
