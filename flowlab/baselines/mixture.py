"""A mixture of Gaussians with full covariances; the number of components by the Bayesian information criterion."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import logsumexp

from flowlab.baselines.base import Baseline, missing_package
from flowlab.baselines.gaussian import gaussian_log_prob

COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
MOST_WORK = 2e9  # components * rows * d^2, in an iteration


class GaussianMixture(Baseline):
    """log p(x) = log sum_k w_k N(x; m_k, S_k), fitted by expectation maximization of scikit-learn.

    The number of components doubles from 1 as long as BIC = -2 log likelihood + parameters log n falls, up to 64.
    """

    title = "Gaussian mixture"
    most_rows = 20_000

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int) -> None:
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture as Mixture
        except ImportError:
            raise missing_package(self.title) from None
        best, lowest = None, np.inf
        for components in COMPONENTS:
            too_large = components * train.size * train.shape[1] > MOST_WORK or 2 * components > len(train)
            if best is not None and too_large:
                break
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the last iteration is good enough for BIC
                mixture = Mixture(components, random_state=seed % 2**32).fit(train)
            if (bic := mixture.bic(train)) >= lowest:
                break
            best, lowest = mixture, bic
        assert best is not None
        self._weights, self._means, self._covariances = best.weights_, best.means_, best.covariances_
        count = len(self._weights)
        self.note = f"{count} component{'s' * (count > 1)} with full covariances, by BIC"

    def _log_prob(self, z: np.ndarray) -> np.ndarray:
        parts = zip(self._weights, self._means, self._covariances, strict=True)
        return logsumexp([np.log(weight) + gaussian_log_prob(z - mean, cov) for weight, mean, cov in parts], axis=0)

    def _keep(self, places: np.ndarray) -> None:
        self._means = self._means[:, places]
        self._covariances = self._covariances[:, places[:, None], places]
