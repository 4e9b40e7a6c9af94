"""Targets: distributions with an exact density, and the points of a file."""

from flowlab.config.errors import DataError
from flowlab.targets.base import Batch, ExactTarget, Target
from flowlab.targets.file import FileTarget
from flowlab.targets.gaussian import Banana, Funnel, Gaussian
from flowlab.targets.shapes import Checkerboard, EightGaussians, TwoMoons, Uniform

__all__ = [
    "Banana",
    "Batch",
    "Checkerboard",
    "DataError",
    "EightGaussians",
    "ExactTarget",
    "FileTarget",
    "Funnel",
    "Gaussian",
    "Target",
    "TwoMoons",
    "Uniform",
]
