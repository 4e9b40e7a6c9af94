"""Bounds on log Z and effective sample sizes from log weights, log p~ - log q, of draws of the flow or the target."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flowlab.diagnostics.pareto import Array, as_log_weights


class Estimate(NamedTuple):
    """A mean and its standard error."""

    value: float
    error: float


def bound(log_weights: ArrayLike) -> Estimate:
    r"""The mean of log w, w = p~ / q, in nats: a bound on log Z = log \int p~.

    Over draws of the flow q it is the ELBO, log Z - KL(q || p). Over samples of the target p it is the EUBO,
    log Z + KL(p || q). So ELBO <= log Z <= EUBO, and their distance is the sum of both divergences.

    Arguments:
        log_weights: of shape (n,), in nats.

    Raises:
        DataError: the log weights are not of shape (n,), hold NaN, or are all -inf.

    Reference:
        | Beyond ELBOs: A Large-Scale Evaluation of Variational Methods for Sampling (Denis Blessing, Xiaogang Jia,
        | Johannes Esslinger, Francisco Vargas, Gerhard Neumann, 2024)
        | https://arxiv.org/abs/2406.07423
    """
    log_weights = as_log_weights(log_weights)
    mean = float(log_weights.mean())
    return Estimate(mean, _standard_error(log_weights) if math.isfinite(mean) else math.nan)


def log_evidence(log_weights: ArrayLike) -> Estimate:
    r"""log Z, as the log of the mean weight of draws of the flow, in nats.

    The mean weight is unbiased for Z. Its standard error, over the mean, is the error of the log to first order. Both
    mean little if the Pareto k of the weights is too large.

    Arguments:
        log_weights: the log weights of draws of the flow, of shape (n,).

    Example:
        >>> from flowlab.diagnostics.importance import log_evidence
        >>> log_evidence([2.0, 2.0, 2.0])
        Estimate(value=2.0, error=0.0)
    """
    log_weights = as_log_weights(log_weights)
    highest = float(log_weights.max())
    if highest == math.inf:
        return Estimate(math.inf, math.nan)
    weights = np.exp(log_weights - highest)
    mean = float(weights.mean())
    return Estimate(highest + math.log(mean), _standard_error(weights) / mean)


def effective_share(log_weights: ArrayLike) -> float:
    """The reverse effective sample size over n, (mean w)^2 / mean w^2, from draws of the flow; between 1/n and 1.

    It can be near 1 for a flow that misses a mode: no draw is there. Compare it with `forward_effective_share`.
    """
    log_weights = as_log_weights(log_weights)
    if log_weights.max() == np.inf:
        return 1 / len(log_weights)
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.mean() ** 2 / np.square(weights).mean())


def forward_effective_share(log_weights: ArrayLike, log_z: float = 0.0) -> float:
    """The forward effective sample size over n, Z / mean w, from samples of the target; at most 1.

    Under the target E w = E_q w^2 / Z, so it estimates the same number as `effective_share`. A missed mode gives huge
    weights to the samples there, so this one sees it.

    Arguments:
        log_weights: log p~ - log q of samples of the target, of shape (n,), in nats.
        log_z: log Z in nats, as by `log_evidence`; 0 for a normalized density.

    Reference:
        | Beyond ELBOs: A Large-Scale Evaluation of Variational Methods for Sampling (Denis Blessing, Xiaogang Jia,
        | Johannes Esslinger, Francisco Vargas, Gerhard Neumann, 2024)
        | https://arxiv.org/abs/2406.07423
    """
    log_weights = as_log_weights(log_weights)
    highest = float(log_weights.max())
    if highest == math.inf:
        return 0.0
    log_mean = highest + math.log(float(np.exp(log_weights - highest).mean()))
    return math.exp(min(log_z - log_mean, 0.0))


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
