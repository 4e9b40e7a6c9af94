"""Targets whose density is known: exact ones, which can be sampled, and a log density alone."""

from flowlab.targets.densities.energies import U1, U2, U3, U4
from flowlab.targets.densities.gaussian import Banana, Funnel, Gaussian
from flowlab.targets.densities.log_density import LogDensity
from flowlab.targets.densities.norms import RingNorm, TwoNorm
from flowlab.targets.densities.shapes import Checkerboard, EightGaussians, TwoMoons, Uniform

__all__ = [
    "U1",
    "U2",
    "U3",
    "U4",
    "Banana",
    "Checkerboard",
    "EightGaussians",
    "Funnel",
    "Gaussian",
    "LogDensity",
    "RingNorm",
    "TwoMoons",
    "TwoNorm",
    "Uniform",
]
