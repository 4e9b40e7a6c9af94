"""A Gaussian copula: free marginals, and the dependence of a Gaussian."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator
from scipy.special import ndtri

from flowlab.baselines.base import Baseline
from flowlab.baselines.gaussian import LOG_TWO_PI, gaussian_log_prob, mean_and_covariance

BINS = (2, 4, 8, 16, 32, 64, 128)  # bins of equal probability, between the knots of a marginal
TAIL = 10  # rows beyond the last knot on each side


class GaussianCopula(Baseline):
    r"""log p(x) = log N(g(x); m, S) + sum_j log g_j'(x_j), with a monotone g_j for each column.

    g_j maps a column to a standard normal one. It is a cubic spline through empirical quantiles. Its number of knots
    gives validation rows the highest density. Beyond the last knots it is linear, so the tails are normal. The mean m
    of g(x) is nearly 0, and the variances in its covariance S are nearly 1. Every g_j maps all real numbers onto all
    real numbers, so the density integrates to 1.

    Source: Liu, Lafferty and Wasserman, "The Nonparanormal: Semiparametric Estimation of High Dimensional Undirected
    Graphs", 2009, https://www.jmlr.org/papers/v10/liu09a.html
    """

    title = "Gaussian copula"
    most_rows = 200_000

    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int) -> None:
        self._marginals = [
            _choose(np.sort(column), held_out) for column, held_out in zip(train.T, validation.T, strict=True)
        ]
        z, _ = self._push(train)
        self._mean, self._covariance = mean_and_covariance(z)
        bins = sorted(len(marginal.x) - 1 for marginal in self._marginals)
        said = f"{bins[0]}" if bins[0] == bins[-1] else f"{bins[0]} to {bins[-1]}"
        self.note = f"spline marginals of {said} pieces, by validation rows"

    def _push(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """g(x) of shape (n, d), and sum_j log g_j'(x_j) of shape (n,)."""
        pairs = [_map(marginal, column) for marginal, column in zip(self._marginals, x.T, strict=True)]
        return np.stack([z for z, _ in pairs], axis=1), np.sum([log_slope for _, log_slope in pairs], axis=0)

    def _log_prob(self, z: np.ndarray) -> np.ndarray:
        normal, log_slope = self._push(z)
        return gaussian_log_prob(normal - self._mean, self._covariance) + log_slope

    def _keep(self, places: np.ndarray) -> None:
        self._marginals = [self._marginals[place] for place in places]
        self._mean, self._covariance = self._mean[places], self._covariance[np.ix_(places, places)]


def _choose(column: np.ndarray, validation: np.ndarray) -> CubicHermiteSpline:
    """The g of a sorted column that gives validation values the highest mean log density."""
    most = max(2, len(column) // TAIL)
    splines = [_spline(column, bins) for bins in BINS if bins <= most]

    def score(spline: CubicHermiteSpline) -> float:
        z, log_slope = _map(spline, validation)
        return float((log_slope - 0.5 * (z**2 + LOG_TWO_PI)).mean())

    return max(splines, key=score)


def _spline(column: np.ndarray, bins: int) -> CubicHermiteSpline:
    """A monotone cubic spline through quantiles of a sorted column, to the quantiles of the standard normal."""
    inner = np.arange(1, bins) / bins
    tails = [0.5 / bins]  # halved until few rows are beyond
    while tails[-1] * len(column) > 2 * TAIL:
        tails.append(tails[-1] / 2)
    levels = np.concatenate([tails[::-1], inner, 1 - np.array(tails)])
    # A value that many rows share is one knot, in the middle of its levels.
    knots, places = np.unique(np.quantile(column, levels), return_inverse=True)
    z = np.bincount(places, ndtri(levels)) / np.bincount(places)
    if len(knots) < 2:  # nearly all rows share a value
        knots, z = np.array([-1.0, 1.0]) * max(column.std(), 1e-12) + column.mean(), np.array([-1.0, 1.0])
    slopes = np.diff(z) / np.diff(knots)
    inside = PchipInterpolator(knots, z).derivative()(knots[1:-1]) if len(knots) > 2 else []
    return CubicHermiteSpline(knots, z, np.concatenate([slopes[:1], inside, slopes[-1:]]))


def _map(spline: CubicHermiteSpline, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """g(x) and log g'(x), each of shape (n,)."""
    nearest = np.clip(x, spline.x[0], spline.x[-1])
    slope = spline.derivative()(nearest)
    return spline(nearest) + slope * (x - nearest), np.log(slope)
