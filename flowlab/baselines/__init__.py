"""Density models without a neural network, which a flow should beat: the first thing to compare a flow with."""

from flowlab.baselines.base import Baseline
from flowlab.baselines.copula import GaussianCopula
from flowlab.baselines.gaussian import Gaussian
from flowlab.baselines.kernel_density import KernelDensity
from flowlab.baselines.mixture import GaussianMixture

BASELINES: tuple[type[Baseline], ...] = (Gaussian, GaussianMixture, KernelDensity, GaussianCopula)

__all__ = ["BASELINES", "Baseline", "Gaussian", "GaussianCopula", "GaussianMixture", "KernelDensity"]
