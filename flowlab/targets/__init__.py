"""What is to be modelled: targets with an exact density, and points from a file."""

from flowlab.config.schemas import DataError
from flowlab.targets.base import ExactTarget, Target
from flowlab.targets.file import FileTarget
from flowlab.targets.gaussian import Banana, Funnel, Gaussian
from flowlab.targets.shapes import Checkerboard, EightGaussians, TwoMoons, Uniform

__all__ = [
    "Banana",
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
