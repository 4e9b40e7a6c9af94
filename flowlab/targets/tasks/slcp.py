"""The task slcp: a simple likelihood whose posterior is complex."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.registry import register
from flowlab.targets.draws import randn, stack
from flowlab.targets.tasks.base import BoxTask

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@register("task", "slcp")
@dataclass
class SLCP(BoxTask):
    r"""Four points of a Gaussian in two dimensions, whose mean and covariance are theta, uniform on [-3, 3]^5.

    The mean is (t1, t2), the standard deviations are t3^2 and t4^2, and the correlation is tanh(t5). The signs of t3
    and t4 are lost, so the posterior has four modes. x has the coordinates of the points, one point after the other.

    Reference:
        | Sequential Neural Likelihood (George Papamakarios, David C. Sterratt, Iain Murray, 2019)
        | https://arxiv.org/abs/1805.07226
        | Benchmarking Simulation-Based Inference (Jan-Matthis Lueckmann et al., 2021), appendix T.3
        | https://arxiv.org/abs/2101.04653
    """

    dim, data_dim = 5, 8
    bound = 3.0

    def simulate(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        first, second = randn((2, len(theta), 4), generator, theta.dtype)
        mean1, mean2, root1, root2, raw = theta.unsqueeze(-1).unbind(-2)
        correlation = raw.tanh()
        x1 = mean1 + root1.square() * first
        # sqrt(1 - tanh^2) = 1 / cosh does not cancel where the correlation is near 1.
        x2 = mean2 + root2.square() * (correlation * first + second / raw.cosh())
        return stack(x1, x2).flatten(-2)
