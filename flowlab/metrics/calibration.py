"""Are posteriors calibrated? Ranks of simulation-based calibration, and the coverage of credible regions.

Each check takes pairs of parameters and data from the prior and the simulator. If the posteriors are right, every
result is uniform. A uniform result does not prove that they are right: the prior itself passes all three checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowlab.config.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]


def sbc_ranks(parameters: ArrayLike, samples: ArrayLike) -> Array:
    r"""For each parameter the number of posterior samples below the true value: uniform on 0 ... L.

    A hill in the middle of a histogram of ranks shows posteriors that are too wide. A valley shows posteriors that are
    too narrow, and a slope shows a bias.

    Arguments:
        parameters: true parameters of n simulations, of shape (n, d).
        samples: L independent samples of the posterior of each simulation, of shape (n, L, d).

    Returns:
        Ranks of shape (n, d), whole numbers from 0 to L.

    Raises:
        DataError: the shapes do not fit each other.

    Reference:
        | Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Sean Talts, Michael Betancourt,
        | Daniel Simpson, Aki Vehtari, Andrew Gelman, 2018)
        | https://arxiv.org/abs/1804.06788

    Example:
        >>> from flowlab.metrics.calibration import sbc_ranks
        >>> sbc_ranks([[0.5]], [[[0.1], [0.4], [0.9]]])
        array([[2]])
    """
    truth, draws = _check_pairs(parameters, samples)
    return (draws < truth[:, None]).sum(1)


def uniformity_p_values(ranks: ArrayLike, draws: int, bins: int = 20) -> Array:
    """The p-value of a chi-squared test that the ranks of each parameter are uniform, of shape (d,).

    Arguments:
        ranks: from `sbc_ranks`, of shape (n, d), with n of at least 5 `bins`.
        draws: L, the samples of each posterior.
        bins: the number of bins, which share the L + 1 ranks as evenly as possible.

    Raises:
        DataError: there are fewer than 5 ranks for each bin, or more bins than ranks.
    """
    from scipy.stats import chisquare

    ranks = np.asarray(ranks)
    if bins > draws + 1 or len(ranks) < 5 * bins:
        raise DataError(
            f"bins={bins}: {len(ranks)} simulations with {draws} samples each must give at least 5 ranks for a bin, "
            "and a rank for each; use fewer bins"
        )
    places = np.arange(draws + 1) * bins // (draws + 1)
    expected = np.bincount(places, minlength=bins) * len(ranks) / (draws + 1)
    return np.array([chisquare(np.bincount(places[each], minlength=bins), expected).pvalue for each in ranks.T])


def density_levels(log_prob: ArrayLike, samples_log_prob: ArrayLike) -> Array:
    r"""The credible level at which each posterior's highest-density region first holds the true parameters.

    The level is the share of posterior samples whose density exceeds the density of the true parameters. It is uniform
    on [0, 1] if the posteriors are right; `expected_coverage` makes a curve of the levels.

    Arguments:
        log_prob: the log density of the true parameters of n simulations, of shape (n,).
        samples_log_prob: the log densities of L samples of each posterior, of shape (n, L).

    Raises:
        DataError: the shapes do not fit each other.

    Reference:
        | A Trust Crisis In Simulation-Based Inference? Your Posterior Approximations Can Be Unfaithful (Joeri Hermans,
        | Arnaud Delaunoy, Francois Rozet, Antoine Wehenkel, Volodimir Begy, Gilles Louppe, 2021)
        | https://arxiv.org/abs/2110.06581
    """
    truth, draws = np.asarray(log_prob), np.asarray(samples_log_prob)
    if draws.ndim != 2 or truth.shape != draws.shape[:1] or not draws.size:
        raise DataError(
            f"samples_log_prob: has shape {draws.shape} and must have shape (n, L) for {truth.shape} = (n,)"
        )
    return (draws > truth[:, None]).mean(1)


def tarp_levels(parameters: ArrayLike, samples: ArrayLike, references: ArrayLike) -> Array:
    r"""The credible level at which each ball around a random point first holds the true parameters (TARP).

    The level is the share of posterior samples that are nearer to the random point than the true parameters are. It
    needs no density. If it is uniform for references that depend on the data, the posteriors are right.

    Arguments:
        parameters: true parameters of n simulations, of shape (n, d).
        samples: L samples of the posterior of each simulation, of shape (n, L, d).
        references: random points, of shape (n, d).

    Raises:
        DataError: the shapes do not fit each other.

    Reference:
        | Sampling-Based Accuracy Testing of Posterior Estimators for General Inference (Pablo Lemos, Adam Coogan,
        | Yashar Hezaveh, Laurence Perreault-Levasseur, 2023)
        | https://arxiv.org/abs/2302.03026
    """
    truth, draws = _check_pairs(parameters, samples)
    centres = np.asarray(references)
    if centres.shape != truth.shape:
        raise DataError(
            f"references: have shape {centres.shape} and must have the shape of the parameters, {truth.shape}"
        )
    distances = np.linalg.norm(draws - centres[:, None], axis=-1)
    return (distances < np.linalg.norm(truth - centres, axis=-1)[:, None]).mean(1)


def expected_coverage(levels: ArrayLike, credible: ArrayLike) -> Array:
    """The share of simulations whose region of each credible level holds the true parameters.

    It equals the credible level if the posteriors are right. A smaller share shows posteriors that are too narrow.

    Arguments:
        levels: from `density_levels` or `tarp_levels`, of shape (n,).
        credible: credible levels between 0 and 1, of shape (k,).

    Example:
        >>> from flowlab.metrics.calibration import expected_coverage
        >>> expected_coverage([0.1, 0.4, 0.6, 0.9], [0.5, 0.95])
        array([0.5, 1. ])
    """
    return (np.asarray(levels)[:, None] <= np.asarray(credible)).mean(0)


def _check_pairs(parameters: ArrayLike, samples: ArrayLike) -> tuple[Array, Array]:
    truth, draws = np.asarray(parameters), np.asarray(samples)
    if truth.ndim != 2 or draws.ndim != 3 or draws.shape[::2] != truth.shape or not draws.size:
        raise DataError(
            f"samples: have shape {draws.shape} and must have shape (n, L, d) for parameters of shape (n, d), "
            f"{truth.shape}"
        )
    return truth, draws
