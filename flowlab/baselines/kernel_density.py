"""A kernel density estimate; the bandwidth by the likelihood of validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowlab.baselines.base import Baseline, missing_package

BANDWIDTHS = np.geomspace(0.02, 1.5, 14)  # in standard deviations of a column
PRECISION = 1e-4  # relative, of a density


class KernelDensity(Baseline):
    """log p(x) = log mean_i N(x; x_i, h^2), with one bandwidth h for all standardized columns; by scikit-learn.

    The bandwidth is the one of 14, from 0.02 to 1.5 standard deviations, that gives validation rows the highest mean
    log density.
    """

    title = "kernel density"
    most_rows = 20_000
    most_validation_rows = 2000

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int) -> None:
        trees = [_build(train, float(bandwidth)) for bandwidth in BANDWIDTHS]
        self._rows, self._tree = train, max(trees, key=lambda tree: tree.score_samples(validation).mean())
        self.note = f"bandwidth {self._tree.bandwidth:.2g} standard deviations, by validation rows"

    def _log_prob(self, z: np.ndarray) -> np.ndarray:
        return self._tree.score_samples(z)

    def _keep(self, places: np.ndarray) -> None:
        self._rows = self._rows[:, places]
        self._tree = _build(self._rows, self._tree.bandwidth)


def _build(rows: np.ndarray, bandwidth: float) -> Any:
    """The estimate of scikit-learn, which arranges the rows in a tree."""
    try:
        from sklearn.neighbors import KernelDensity as Tree
    except ImportError:
        raise missing_package(KernelDensity.title) from None
    return Tree(bandwidth=bandwidth, rtol=PRECISION).fit(rows)
