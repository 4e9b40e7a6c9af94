"""The linear regression with t errors that fits points best: the start of a flow for tables."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flowlab.config.errors import ConfigError
from flowlab.distributions.multivariate_t import NORMAL, MultivariateT

DEGREES = (NORMAL, 100.0, 30.0, 15.0, 8.0, 5.0, 3.0, 2.0, 1.0)
ROUNDS = 30  # rounds of the EM algorithm, for each number of degrees
RIDGE = 1e-8  # added to the variance of each column, as a share of it: columns may be nearly collinear
SHARES = (0.0, 0.01, 0.03, 0.1, 0.3)  # shares of the diagonal in a scale matrix of few rows
PULLS = (*SHARES, 1.0)  # the same for the covariance of their contexts; at 1 there is no regression
FEW = 20  # rows for each column
FOLDS = 4


class Ellipse(NamedTuple):
    """Where the distribution of x = location + slopes c + factor t lies, with t from MultivariateT and a context c.

    Attributes:
        degrees: the degrees of freedom of t.
        location: of shape (d,).
        slopes: of shape (d, k) for contexts of length k; k is 0 without contexts.
        factor: a lower triangle of shape (d, d).
    """

    degrees: float
    location: Tensor
    slopes: Tensor
    factor: Tensor

    def standardize(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """The values of t, of shape (n, d), for points of shape (n, d) and contexts of shape (n, k)."""
        centred = x - self.location
        residuals = centred if c is None or not c.shape[1] else centred - c @ self.slopes.mT
        return torch.linalg.solve_triangular(self.factor, residuals.mT, upper=False).mT

    def log_prob(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Log density in nats of points of shape (n, d), given contexts of shape (n, k)."""
        base = MultivariateT(torch.tensor(self.degrees, dtype=x.dtype), x.shape[-1])
        return base.log_prob(self.standardize(x, c)) - self.factor.diagonal().log().sum()


def fit_ellipse(x: Tensor, context: Tensor | None = None, heaviest: float = DEGREES[-1]) -> Ellipse:
    """The linear regression with multivariate t errors of the highest likelihood, normal errors included.

    Without contexts it is the multivariate t distribution of the points. With fewer than 20 rows for each column of
    points and contexts, their covariances are mixed with their diagonals, which is a ridge regression. The shares of
    the diagonals are those that predict rows that were left out best. So as many columns as rows have a density too.

    Arguments:
        x: points of shape (n, d).
        context: their contexts, of shape (n, k).
        heaviest: the least degrees of freedom that are tried; fewer are heavier tails.

    Raises:
        ConfigError: there is no row, a number is not finite, or the square of one overflows.

    Reference:
        | Robust Statistical Modeling Using the t Distribution (Kenneth Lange, Roderick Little, Jeremy Taylor, 1989)
        | https://doi.org/10.1080/01621459.1989.10478852
    """
    x = x.detach().double()
    c = x[:, :0] if context is None else context.detach().double()
    rows, columns = len(x), x.shape[1] + c.shape[1]
    if not rows or not all((each - each.mean(0)).square().sum().isfinite() for each in (x, c)):
        raise ConfigError(
            f"flow=tabular: starts at the t distribution of {rows} training rows, and they give none; give at least "
            "one row, of finite numbers below 1e150"
        )
    if rows >= FEW * columns:
        share = pull = 0.0
    elif rows <= FOLDS:
        share, pull = SHARES[-1], PULLS[-1]
    else:
        share, pull = _choose_shares(x, c)
    return _most_likely(x, c, share, pull, tuple(degrees for degrees in DEGREES if degrees >= heaviest))


def _choose_shares(x: Tensor, c: Tensor) -> tuple[float, float]:
    """The shares of the diagonals that predict rows best that were left out."""
    folds = [torch.arange(len(x), device=x.device) % FOLDS == fold for fold in range(FOLDS)]

    def left_out(share: float, pull: float, tried: tuple[float, ...] = DEGREES) -> float:
        fits = ((fold, _most_likely(x[~fold], c[~fold], share, pull, tried)) for fold in folds)
        return sum(float(fit.log_prob(x[fold], c[fold]).sum()) for fold, fit in fits)

    # Normal errors need no rounds, so they try the shares in pairs.
    pairs = [(share, pull) for share in SHARES for pull in PULLS] if c.shape[1] else [(0.0, 0.0)]
    _, pull = max(pairs, key=lambda pair: left_out(pair[0], pair[1], (NORMAL,)))
    return max(SHARES, key=lambda share: left_out(share, pull)), pull


def _most_likely(x: Tensor, c: Tensor, share: float, pull: float, tried: tuple[float, ...] = DEGREES) -> Ellipse:
    """The best number of degrees, for shares of the diagonals; each begins where the last one ended."""
    both, size = torch.cat([x, c], 1), x.shape[1]
    floor = _floor(both)

    def regress(weights: Tensor, degrees: float) -> Ellipse:
        """Weighted least squares, and the scale matrix of its residuals."""
        center = weights @ both / weights.sum()
        centred = (both - center) * weights.sqrt()[:, None]
        covariance = centred.mT @ centred / len(x)
        own, shared = covariance[size:, size:], covariance[size:, :size]
        slopes = torch.linalg.solve(_mix(own, floor[size:], pull), (1 - pull) * shared).mT
        residuals = torch.cat([torch.eye(size).to(slopes), -slopes], 1)
        scale = _mix(residuals @ covariance @ residuals.mT, floor[:size], share)
        return Ellipse(degrees, residuals @ center, slopes, torch.linalg.cholesky(scale))

    weights, found = x.new_ones(len(x)), list[tuple[float, Ellipse]]()
    for degrees in tried:
        for _ in range(0 if degrees == NORMAL else ROUNDS):
            t = regress(weights, degrees).standardize(x, c)
            weights = (degrees + size) / (degrees + t.square().sum(1))
        ellipse = regress(weights, degrees)
        found.append((float(ellipse.log_prob(x, c).mean()), ellipse))
    return max(found, key=lambda each: each[0])[1]


def _floor(x: Tensor) -> Tensor:
    """The least that is added to the variance of each column."""
    variance = (x - x.mean(0)).square().mean(0)
    return RIDGE * torch.where(variance > 0, variance, 1.0)


def _mix(covariance: Tensor, floor: Tensor, share: float) -> Tensor:
    """A covariance with a share of its diagonal: its correlations are smaller by that share."""
    return (1 - share) * covariance + (share * covariance.diagonal() + floor).diag()
