"""Tables that other packages ship, for benchmarks and lessons; `load("galaxies")` gives one as a DataFrame."""

from flowlab.datasets.dataset import Dataset as Dataset
from flowlab.datasets.dataset import Wheel as Wheel
from flowlab.datasets.tables import DATASETS as DATASETS
from flowlab.datasets.tables import load as load

__all__ = ["DATASETS", "Dataset", "Wheel", "load"]
