"""How good a flow is: measured on held-out points, with standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from flowlab.distributed.world import SINGLE_PROCESS, World
from flowlab.flow import Flow
from flowlab.targets.base import ExactTarget, Target


@dataclass(kw_only=True)
class Evaluation:
    """What held-out points say.

    Attributes:
        nll: average of -log q in nats, and its standard error.
        kl: KL(p || q) in nats where the density p of the target is known: the average of log p - log q over the same
            points, which varies far less than nll minus entropy; and its standard error.
        bits_per_dim: nll / (dim log 2).
        inverse_error: largest |f(f^-1(x)) - x| over the points, in their units; NaN where one is outside the support.
    """

    nll: float
    nll_se: float
    kl: float | None
    kl_se: float | None
    bits_per_dim: float
    inverse_error: float


@torch.no_grad()
def evaluate(
    flow: Flow, points: Tensor, target: Target | None = None, chunk: int = 20_000, world: World = SINGLE_PROCESS
) -> Evaluation:
    """Score a flow on points of shape (n, dim), `chunk` at a time, n at least 2.

    Of each point its two log densities are kept, and averaged in float64: about 32 bytes a point beside the points.
    Several ranks score a share each, and all of them then have the scores of all points: nothing is counted twice.
    """
    log_q, log_p, errors = [], [], []
    for part in world.shard(points).split(chunk):
        x, log_prob = flow.inverse_and_log_prob(part)
        log_q.append(log_prob)
        errors.append((flow.bijector.forward(x) - part).abs().amax(-1))
        if isinstance(target, ExactTarget):
            log_p.append(target.log_prob(part))
    scores = world.all_gather(torch.cat(log_q).double(), len(points))
    log_ratio = world.all_gather(torch.cat(log_p).double(), len(points)).sub_(scores) if log_p else None
    nll, nll_se = _mean_and_error(scores.neg_())
    kl, kl_se = (None, None) if log_ratio is None else _mean_and_error(log_ratio)
    return Evaluation(
        nll=nll,
        nll_se=nll_se,
        kl=kl,
        kl_se=kl_se,
        bits_per_dim=nll / (points.shape[1] * math.log(2)),
        inverse_error=float(world.all_gather(torch.cat(errors), len(points)).max()),
    )


def gaussian_nll(train: Tensor, test: Tensor) -> float:
    """Average NLL in nats, on test points, of the Gaussian with the mean and full covariance of the training points.

    The baseline that a flow must beat; infinite where the covariance is singular.
    """
    points = train.double().cpu().numpy()
    covariance = np.atleast_2d(np.cov(points, rowvar=False, bias=True))
    try:
        gaussian = scipy.stats.multivariate_normal(points.mean(axis=0), covariance)
    except (np.linalg.LinAlgError, ValueError):
        return math.inf
    return -float(np.mean(gaussian.logpdf(test.double().cpu().numpy())))


def _mean_and_error(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))
