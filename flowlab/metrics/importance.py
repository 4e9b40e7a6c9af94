"""Metrics of importance weights, by name: `metrics=[elbo,ess,pareto_k,forward_ess]`.

All but forward_ess draw as many points of the flow as are held out. `flowlab.diagnose` says more about one flow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flowlab.config.registry import register
from flowlab.metrics.evaluation import Evaluation, chunks, for_samples, higher_is_better, needs_density

if TYPE_CHECKING:
    from torch import Tensor


@register("metric", "elbo")
@needs_density
@for_samples
@higher_is_better
def elbo(evaluation: Evaluation) -> float | None:
    """E_q [log p - log q] in nats: log Z - KL(q || p), where log Z is 0 for a density that is normalized."""
    weights = _log_weights(evaluation)
    return None if weights is None else float(weights.mean())


@register("metric", "elbo_se")
@needs_density
@for_samples
def elbo_se(evaluation: Evaluation) -> float | None:
    """The standard error of elbo, in nats."""
    weights = _log_weights(evaluation)
    return None if weights is None else float(weights.std()) / math.sqrt(len(weights))


@register("metric", "ess")
@needs_density
@for_samples
@higher_is_better
def ess(evaluation: Evaluation) -> float | None:
    """The effective sample size of draws of the flow as a fraction; see `diagnostics.importance.effective_share`."""
    from flowlab.diagnostics.importance import effective_share

    weights = _log_weights(evaluation)
    return None if weights is None or (weights == -float("inf")).all() else effective_share(weights.cpu())


@register("metric", "pareto_k")
@needs_density
@for_samples
def pareto_k(evaluation: Evaluation) -> float | None:
    """The tail index of the weights of draws of the flow; see `diagnostics.pareto.pareto_k`."""
    from flowlab.diagnostics.pareto import pareto_k

    weights = _log_weights(evaluation)
    return None if weights is None or (weights == -float("inf")).all() else pareto_k(weights.cpu())


@register("metric", "forward_ess")
@needs_density
def forward_ess(evaluation: Evaluation) -> float | None:
    """The effective sample size of the held-out points; see `diagnostics.importance.forward_effective_share`."""
    from flowlab.diagnostics.importance import forward_effective_share

    ratio = evaluation.log_ratio
    return None if ratio is None else forward_effective_share(ratio.cpu())


def _log_weights(evaluation: Evaluation) -> Tensor | None:
    """log p - log q of as many draws of the flow as there are held-out points, with their contexts."""
    import torch

    from flowlab.seeding import generator
    from flowlab.targets.base import ExactTarget

    if evaluation.of_samples:
        return evaluation.log_ratio
    flow, target = evaluation.flow, evaluation.target
    if not isinstance(target, ExactTarget):
        return None
    parts = []
    with torch.no_grad():
        for part, (x, context) in enumerate(chunks(evaluation.batch)):
            draws = generator(0, "importance metrics", part, x.device)
            shape = (len(x),) if context is None else ()
            y, log_q = flow.rsample_and_log_prob(shape, context, draws)
            log_p = target.log_prob(y) if context is None else target.log_prob(y, context)
            parts.append(log_p.double() - log_q.double())
    return torch.cat(parts)
