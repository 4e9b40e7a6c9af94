"""The multivariate t distribution that fits points best: the start of a flow for tables."""

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
FEW = 20  # rows for each column
FOLDS = 4


class Ellipse(NamedTuple):
    """Where the distribution of x = location + factor t lies, with t from MultivariateT.

    Attributes:
        degrees: the degrees of freedom of t.
        location: of shape (d,).
        factor: a lower triangle of shape (d, d).
    """

    degrees: float
    location: Tensor
    factor: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats of points of shape (n, d)."""
        t = torch.linalg.solve_triangular(self.factor, (x - self.location).mT, upper=False).mT
        base = MultivariateT(torch.tensor(self.degrees, dtype=x.dtype), x.shape[-1])
        return base.log_prob(t) - self.factor.diagonal().log().sum()


def fit_ellipse(x: Tensor) -> Ellipse:
    """The multivariate t distribution of the highest likelihood for points of shape (n, d), the normal one included.

    With fewer than 20 rows a column the scale matrix is mixed with its diagonal. The share of the diagonal is the one
    that predicts rows that were left out best. So as many columns as rows have a density too.

    Raises:
        ConfigError: there is no row, a number is not finite, or the square of one overflows.

    Reference:
        | Robust Statistical Modeling Using the t Distribution (Kenneth Lange, Roderick Little, Jeremy Taylor, 1989)
        | https://doi.org/10.1080/01621459.1989.10478852
    """
    x = x.detach().double()
    rows, columns = x.shape
    if not rows or not (x - x.mean(0)).square().sum().isfinite():
        raise ConfigError(
            f"flow=tabular: starts at the t distribution of {rows} training rows, and they give none; give at least "
            "one row, of finite numbers below 1e150"
        )
    if rows >= FEW * columns:
        return _most_likely(x, 0.0)
    folds = [torch.arange(rows, device=x.device) % FOLDS == fold for fold in range(min(FOLDS, rows))]

    def left_out(share: float) -> float:
        return sum(float(_most_likely(x[~fold], share).log_prob(x[fold]).sum()) for fold in folds)

    share = max(SHARES, key=left_out) if rows > FOLDS else SHARES[-1]
    return _most_likely(x, share)


def _most_likely(x: Tensor, share: float) -> Ellipse:
    """The best number of degrees, for a share of the diagonal; each begins where the last one ended."""
    center = x.mean(0)
    found: list[tuple[float, Ellipse]] = []
    scale, floor = _covariance(x - center), (x - center).square().mean(0)
    floor = RIDGE * torch.where(floor > 0, floor, 1.0)
    for degrees in DEGREES:
        for _ in range(1 if degrees == NORMAL else ROUNDS):
            ellipse = Ellipse(degrees, center, _factor(scale, floor, share))
            t = torch.linalg.solve_triangular(ellipse.factor, (x - center).mT, upper=False)
            weights = (degrees + x.shape[1]) / (degrees + t.square().sum(0))
            center = weights @ x / weights.sum()
            scale = _covariance((x - center) * weights.sqrt()[:, None])
        ellipse = Ellipse(degrees, center, _factor(scale, floor, share))
        found.append((float(ellipse.log_prob(x).mean()), ellipse))
    return max(found, key=lambda each: each[0])[1]


def _covariance(centred: Tensor) -> Tensor:
    return centred.mT @ centred / len(centred)


def _factor(scale: Tensor, floor: Tensor, share: float) -> Tensor:
    diagonal = scale.diagonal()
    return torch.linalg.cholesky((1 - share) * scale + (share * diagonal + floor).diag())
