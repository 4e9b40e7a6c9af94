"""The forward KL divergence from the flow's own points, weighted: for a target with a density and no samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowlab.config.registry import register
from flowlab.objectives.density import DensityObjective

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.targets.base import Batch, ExactTarget


@register("objective", "forward_kl")
@dataclass
class ForwardKL(DensityObjective):
    r"""KL(p || q) = E_p [log p(y) - log q(y)], by self-normalized importance weights of points of the flow.

    For n points y_i of the flow, w_i = p(y_i) / q(y_i), and shares s_i = w_i / sum_j w_j, all without gradient:

        gradient  -sum_i s_i dlog q(y_i) / dtheta, at fixed y_i
        loss      sum_i s_i log(n s_i), from 0 for equal weights to log n for one point that has them all

    Neither needs the normalization of p. Both are biased. To first order in 1 / n, the bias of the gradient is (1 / n)
    E_p [w (g - E_p g)]. Here g = dlog q / dtheta, and w is scaled to a mean of 1. The bias vanishes as the flow comes
    near to the target. It is large where the weights vary much. The loss cannot exceed log n, and it does not see a
    part where the flow has no points. So begin with a flow that is wider than the target, or anneal. With several
    processes each normalizes the weights of its own points.

    Arguments:
        anneal: see DensityObjective.

    Reference:
        | Reweighted Wake-Sleep (Joerg Bornschein, Yoshua Bengio, 2015)
        | https://arxiv.org/abs/1406.2751

    Example:
        >>> import torch
        >>> from flowlab import Flow, StandardNormal
        >>> from flowlab.bijectors import LowRankAffine
        >>> from flowlab.objectives import ForwardKL
        >>> from flowlab.targets import Gaussian
        >>> from flowlab.targets.base import Batch
        >>> flow = Flow(StandardNormal(2), LowRankAffine(2))
        >>> loss = ForwardKL()(flow, Batch(torch.zeros(5, 2)), Gaussian())  # equal points have equal weights
        >>> abs(loss.item()) < 1e-6
        True
    """

    label: ClassVar[str] = "forward KL (training)"

    def __call__(self, flow: Flow, batch: Batch, target: ExactTarget) -> Tensor:  # type: ignore[override]
        import torch

        from flowlab.autocast import full_precision
        from flowlab.objectives._score import at_fixed_points

        y, log_prob = flow.push_forward(batch.x, batch.context)
        with full_precision(y):
            log_weights = self.log_density(target, y.detach(), batch) - log_prob.detach()
            shares = log_weights.flatten().softmax(0)
            value = math.log(shares.numel()) - torch.special.entr(shares).sum()
            fixed = at_fixed_points(flow, batch.x, y, log_prob, batch.context)
            cross_entropy = -(shares * fixed.flatten()).sum()
        return value + (cross_entropy - cross_entropy.detach())
