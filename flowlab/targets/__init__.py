"""What is to be modelled: targets with an exact density, and points from a file."""

from flowlab.targets.base import ExactTarget, Target
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


def __getattr__(name: str) -> object:
    if name in ("FileTarget", "DataError"):  # they need pandas
        from flowlab.targets import file

        return getattr(file, name)
    raise AttributeError(f"module 'flowlab.targets' has no attribute {name!r}")
