"""The tail of importance weights: a generalized Pareto distribution, its shape k, and weights smoothed by it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flowlab.config.errors import DataError

Array = np.ndarray[Any, np.dtype[np.float64]]
LEAST_TAIL = 5  # weights: a fit to fewer means nothing
PRIOR_WEIGHTS, PRIOR_K = 10, 0.5  # a weak prior on k, worth ten weights, for short tails
SMALLEST = 1e-280  # of the largest excess
EQUAL = 1e-3  # of the largest weight: with a smaller spread, the weights have no tail
INFINITE_VARIANCE, LARGEST_K = 0.5, 0.7  # above the first the variance is infinite; above the second do not trust


class ParetoFit(NamedTuple):
    """P(X > x) = (1 + k x / scale)^(-1/k) for excesses x > 0.

    Attributes:
        k: the shape. Moments of order 1/k and above are infinite; k <= 0 has all of them.
        scale: in the units of the excesses.
    """

    k: float
    scale: float


def fit_pareto(excesses: ArrayLike) -> ParetoFit:
    r"""The generalized Pareto distribution of positive excesses over a threshold.

    With theta = -k / scale, the shape that maximizes the likelihood for a given theta is k = mean log(1 - theta x). The
    estimate of theta is its posterior mean over a grid of quantiles of a prior that the data scale. It exists for
    every k and needs no iteration.

    Arguments:
        excesses: of shape (n,), not negative and not all 0.

    Reference:
        | A New and Efficient Estimation Method for the Generalized Pareto Distribution (Jin Zhang, Michael A. Stephens,
        | 2009)
        | https://doi.org/10.1198/tech.2009.08017

    Example:
        >>> import numpy as np
        >>> from flowlab.diagnostics.pareto import fit_pareto
        >>> uniform = (np.arange(1000) + 0.5) / 1000
        >>> round(fit_pareto(2 * (uniform**-0.7 - 1) / 0.7).k, 1)  # quantiles for k = 0.7 and scale 2
        0.7
    """
    x = np.sort(np.asarray(excesses, dtype=np.float64))
    count = len(x)
    size = 30 + math.isqrt(count)
    spacing = 1 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    quartile = x[int(count / 4 + 0.5) - 1]
    if quartile <= 0:  # ties at the threshold
        quartile = x[x > 0][0]
    quartile = max(quartile, SMALLEST * x[-1])  # excesses of very different size would overflow
    theta = 1 / x[-1] + spacing / (3 * quartile)
    shape = np.log1p(-theta[:, None] * x).mean(1)
    log_likelihood = count * (np.log(-theta / shape) - shape - 1)
    weight = np.exp(log_likelihood - log_likelihood.max())
    best = float(weight @ theta / weight.sum())
    k = float(np.log1p(-best * x).mean())
    return ParetoFit(k, -k / best)


def pareto_k(log_weights: ArrayLike) -> float:
    """The shape k of the upper tail of importance weights; see `smooth_weights`.

    It is NaN for fewer than 21 weights, -inf if the largest weights are equal within 0.1 %, and inf if a weight is
    infinite.

    Example:
        >>> import numpy as np
        >>> from flowlab.diagnostics.pareto import pareto_k
        >>> uniform = (np.arange(4000) + 0.5) / 4000
        >>> round(pareto_k(-0.3 * np.log(uniform)), 1), round(pareto_k(-0.9 * np.log(uniform)), 1)
        (0.3, 0.9)
    """
    return _smooth(as_log_weights(log_weights))[1]


def smooth_weights(log_weights: ArrayLike) -> tuple[Array, float]:
    r"""Pareto smoothed importance weights: normalized weights of shape (n,) with a calmer tail, and the shape k.

    A generalized Pareto distribution is fitted to the M = min(n / 5, 3 sqrt(n)) largest weights. Its expected order
    statistics replace them, and none exceeds the largest raw weight. The weights sum to 1.

    Arguments:
        log_weights: log p - log q of n draws of q, up to a constant, of shape (n,); -inf is a weight of 0.

    Raises:
        DataError: the log weights are not of shape (n,), hold NaN, or are all -inf.

    Reference:
        | Pareto Smoothed Importance Sampling (Aki Vehtari, Daniel Simpson, Andrew Gelman, Yuling Yao, Jonah Gabry,
        | 2024)
        | https://arxiv.org/abs/1507.02646

    Example:
        >>> import numpy as np
        >>> from flowlab.diagnostics.pareto import smooth_weights
        >>> weights, k = smooth_weights(np.log([1.0] * 90 + [2.0] * 9 + [100.0]))
        >>> bool(weights.max() < 100 / 208), k > 0.5
        (True, True)
    """
    smoothed, k = _smooth(as_log_weights(log_weights))
    weights = np.exp(smoothed - smoothed.max())
    return weights / weights.sum(), k


def largest_k(draws: int) -> float:
    """The largest k for which `draws` weights give reliable estimates: min(1 - 1 / log10(draws), 0.7)."""
    return min(1 - 1 / math.log10(draws), LARGEST_K) if draws > 10 else -math.inf


def least_draws(k: float) -> float:
    """The draws that reliable estimates need: 10^(1 / (1 - max(k, 0))); infinite for k of 1 or more.

    Example:
        >>> from flowlab.diagnostics.pareto import least_draws
        >>> round(least_draws(0.5)), round(least_draws(0.7)), least_draws(1.1)
        (100, 2154, inf)
    """
    return 10 ** min(1 / (1 - max(k, 0.0)), 300) if k < 1 else math.inf


def as_log_weights(given: ArrayLike) -> Array:
    """Log weights as an array of shape (n,) in float64.

    Raises:
        DataError: the log weights are not of shape (n,), hold NaN, or are all -inf.
    """
    log_weights = np.asarray(given, dtype=np.float64)
    if log_weights.ndim != 1 or not len(log_weights):
        raise DataError(f"log_weights: have shape {log_weights.shape} and must have shape (n,), with n at least 1")
    if np.isnan(log_weights).any() or log_weights.max() == -np.inf:
        raise DataError("log_weights: hold NaN, or no weight above 0; check the density at the draws of the flow")
    return log_weights


def _smooth(log_weights: Array) -> tuple[Array, float]:
    count = len(log_weights)
    tail = math.ceil(min(count / 5, 3 * math.sqrt(count)))
    if (highest := log_weights.max()) == np.inf:
        return np.where(log_weights == np.inf, 0.0, -np.inf), math.inf
    if tail < LEAST_TAIL:
        return log_weights, math.nan
    order = np.argsort(log_weights, kind="stable")
    places = order[-tail:]
    cutoff = np.exp(log_weights[order[-tail - 1]] - highest)
    excesses = np.exp(log_weights[places] - highest) - cutoff
    if excesses[-1] <= EQUAL:  # the rest is rounding of the log densities
        return log_weights, -math.inf
    raw = fit_pareto(excesses)
    k = (tail * raw.k + PRIOR_WEIGHTS * PRIOR_K) / (tail + PRIOR_WEIGHTS)
    survival = 1 - (np.arange(tail) + 0.5) / tail
    with np.errstate(over="ignore"):  # the largest weight is a bound below
        quantiles = raw.scale * (-np.log(survival) if abs(k) < 1e-12 else np.expm1(-k * np.log(survival)) / k)
    smoothed = log_weights.copy()
    smoothed[places] = np.minimum(highest + np.log(cutoff + quantiles), highest)
    return smoothed, k
