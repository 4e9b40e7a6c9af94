"""Measure a flow on held-out points, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from flowlab.config.registry import lookup
from flowlab.distributed.world import SINGLE_PROCESS, World
from flowlab.flow import Flow
from flowlab.targets.base import Batch, ExactTarget, Target

VALIDATION = ("nll", "nll_se", "kl", "bits_per_dim", "inverse_error")
TEST = (*VALIDATION, "kl_se")
CHUNK = 20_000  # points scored at a time


@dataclass(frozen=True)
class Evaluation:
    """A flow's scores of held-out points; metrics are functions of it.

    Attributes:
        flow: the flow that is measured.
        batch: n held-out points and their contexts.
        target: the distribution that they come from, if one is given.
        log_prob: the flow's log density of each point, in nats, of shape (n,) in float64.
        target_log_prob: the target's, or None where it is not known.
        inverse_errors: the largest |f(f^-1(x)) - x| over the coordinates of each point; NaN outside the support.
    """

    flow: Flow
    batch: Batch
    target: Target | None
    log_prob: Tensor
    target_log_prob: Tensor | None
    inverse_errors: Tensor

    @cached_property
    def log_ratio(self) -> Tensor | None:
        """log p - log q of each point, in nats."""
        return None if self.target_log_prob is None else self.target_log_prob - self.log_prob

    def measure(self, names: Sequence[str]) -> dict[str, float]:
        """Metrics by name, without those that are not defined here."""
        values = {name: lookup("metric", name)(self) for name in names}
        return {name: float(value) for name, value in values.items() if value is not None}


@torch.no_grad()
def evaluate(flow: Flow, batch: Batch, target: Target | None = None, world: World = SINGLE_PROCESS) -> Evaluation:
    """Score a flow on a batch of at least 2 points, CHUNK at a time.

    Several ranks score a shard each; all of them then have the scores of all points.
    """
    log_q, log_p, errors = [], [], []
    for x, context in chunks(world.shard(batch)):
        z, log_prob = flow.inverse_and_log_prob(x, context)
        log_q.append(log_prob)
        errors.append((flow.bijector.forward(z, context) - x).abs().reshape(len(x), -1).amax(-1))
        if isinstance(target, ExactTarget):
            log_p.append(target.log_prob(x) if context is None else target.log_prob(x, context))
    count = len(batch.x)
    return Evaluation(
        flow,
        batch,
        target,
        world.all_gather(torch.cat(log_q).double(), count),
        world.all_gather(torch.cat(log_p).double(), count) if log_p else None,
        world.all_gather(torch.cat(errors), count),
    )


def chunks(batch: Batch, size: int = CHUNK) -> list[Batch]:
    """A batch in parts of at most `size` points."""
    return [Batch(*parts) for parts in zip(*(tensor.split(size) for tensor in batch.tensors()), strict=True)]


def gaussian_nll(train: Tensor, test: Tensor) -> float:
    """Average NLL in nats, on test points, of the Gaussian with the mean and full covariance of the training points.

    The baseline that a flow must beat; infinite where the covariance is singular.
    """
    points, tested = (part.double().cpu().reshape(len(part), -1).numpy() for part in (train, test))
    covariance = np.atleast_2d(np.cov(points, rowvar=False, bias=True))
    try:
        gaussian = scipy.stats.multivariate_normal(points.mean(axis=0), covariance)
    except (np.linalg.LinAlgError, ValueError):
        return math.inf
    return -float(np.mean(gaussian.logpdf(tested)))
