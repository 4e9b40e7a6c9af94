"""The metrics that every run has: likelihood, divergence, and the error of the inverse."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flowlab.config.registry import register

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.metrics._evaluate import Evaluation


@register("metric", "nll")
def nll(evaluation: Evaluation) -> float:
    """-mean log q, in nats."""
    return -float(evaluation.log_prob.mean())


@register("metric", "nll_se")
def nll_se(evaluation: Evaluation) -> float:
    """The standard error of nll, in nats."""
    return _standard_error(evaluation.log_prob)


@register("metric", "kl")
def kl(evaluation: Evaluation) -> float | None:
    """KL(p || q) = mean (log p - log q), in nats; None where the target's density p is not known."""
    return None if evaluation.log_ratio is None else float(evaluation.log_ratio.mean())


@register("metric", "kl_se")
def kl_se(evaluation: Evaluation) -> float | None:
    """The standard error of kl, in nats."""
    return None if evaluation.log_ratio is None else _standard_error(evaluation.log_ratio)


@register("metric", "bits_per_dim")
def bits_per_dim(evaluation: Evaluation) -> float:
    """nll in bits, for each coordinate of a point."""
    return nll(evaluation) / (math.prod(evaluation.batch.x.shape[1:]) * math.log(2))


@register("metric", "inverse_error")
def inverse_error(evaluation: Evaluation) -> float:
    """The largest |f(f^-1(x)) - x| over the points, in their units; NaN where one is outside the support."""
    return float(evaluation.inverse_errors.max())


def _standard_error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values)))
