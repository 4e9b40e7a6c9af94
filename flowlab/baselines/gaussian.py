"""The Gaussian with the mean and full covariance of the training rows."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from flowlab.baselines.base import Baseline

LOG_TWO_PI = float(np.log(2 * np.pi))
RIDGE = 1e-8  # added to the variances of standardized columns if their covariance is singular


class Gaussian(Baseline):
    """log p(x) = -(d log 2 pi + log |S| + (x - m)^T S^-1 (x - m)) / 2, by maximum likelihood."""

    title = "Gaussian"
    advice = "it has not learned the data: use a lower optimizer.lr, more max_steps or flow.base=student_t"
    most_rows = 200_000

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int) -> None:
        self._mean = train.mean(0)
        self._covariance = np.atleast_2d(np.cov(train, rowvar=False, bias=True))
        self.note = "mean and full covariance"

    def _log_prob(self, z: np.ndarray) -> np.ndarray:
        return gaussian_log_prob(z - self._mean, self._covariance)

    def _keep(self, places: np.ndarray) -> None:
        self._mean, self._covariance = self._mean[places], self._covariance[np.ix_(places, places)]


def gaussian_log_prob(residuals: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Log density of N(0, covariance) at rows of shape (n, d); of shape (n,)."""
    factor = cholesky(covariance)
    white = solve_triangular(factor, residuals.T, lower=True)
    return -0.5 * (white**2).sum(0) - np.log(np.diag(factor)).sum() - 0.5 * len(factor) * LOG_TWO_PI


def cholesky(covariance: np.ndarray) -> np.ndarray:
    """The lower Cholesky factor; a singular covariance gets a ridge that is no larger than it needs."""
    ridge = 0.0
    while True:
        try:
            return np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))
        except np.linalg.LinAlgError:
            ridge = max(RIDGE, 10 * ridge)
