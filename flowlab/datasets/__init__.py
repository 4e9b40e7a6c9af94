"""Data that other packages ship, for benchmarks and lessons.

`load("galaxies")` gives a table as a DataFrame, `load_posterior("two_moons", 1)` a reference posterior.
"""

from flowlab.datasets.dataset import Dataset as Dataset
from flowlab.datasets.dataset import Wheel as Wheel
from flowlab.datasets.posteriors import ReferencePosterior as ReferencePosterior
from flowlab.datasets.posteriors import load_posterior as load_posterior
from flowlab.datasets.tables import DATASETS as DATASETS
from flowlab.datasets.tables import load as load

__all__ = ["DATASETS", "Dataset", "ReferencePosterior", "Wheel", "load", "load_posterior"]
