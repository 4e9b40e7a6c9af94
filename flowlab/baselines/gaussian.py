"""The Gaussian with the mean and full covariance of the training rows."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from flowlab.baselines.base import Baseline

LOG_TWO_PI = float(np.log(2 * np.pi))
RIDGE = 1e-6  # added to the variances if the smallest eigenvalue of a covariance is less than SINGULAR
SINGULAR = 1e-9


class Gaussian(Baseline):
    """log p(x) = -(d log 2 pi + log |S| + (x - m)^T S^-1 (x - m)) / 2, by maximum likelihood."""

    title = "Gaussian"
    advice = "it has not learned the data: use a lower optimizer.lr, more max_steps or target.robust=true"
    most_rows = 200_000

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int) -> None:
        self._mean, self._covariance = mean_and_covariance(train)
        self.note = "mean and full covariance"

    def _log_prob(self, z: np.ndarray) -> np.ndarray:
        return gaussian_log_prob(z - self._mean, self._covariance)

    def _keep(self, places: np.ndarray) -> None:
        self._mean, self._covariance = self._mean[places], self._covariance[np.ix_(places, places)]


def mean_and_covariance(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the covariance of rows of shape (n, d), with a ridge if columns depend linearly on others.

    The ridge stays in every marginal, so the ratio of a joint and a marginal density is a conditional one.
    """
    covariance = np.atleast_2d(np.cov(rows, rowvar=False, bias=True))
    if np.linalg.eigvalsh(covariance)[0] < SINGULAR:
        covariance = covariance + RIDGE * np.eye(len(covariance))
    return rows.mean(0), covariance


def gaussian_log_prob(residuals: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Log density of N(0, covariance) at rows of shape (n, d); of shape (n,)."""
    factor = np.linalg.cholesky(covariance)
    white = solve_triangular(factor, residuals.T, lower=True)
    return -0.5 * (white**2).sum(0) - np.log(np.diag(factor)).sum() - 0.5 * len(factor) * LOG_TWO_PI
