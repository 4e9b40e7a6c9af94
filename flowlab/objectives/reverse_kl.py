"""The reverse KL divergence: the objective of a target's density alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.objectives.density import DensityObjective

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.flow import Flow
    from flowlab.targets.base import Batch, ExactTarget


@register("objective", "reverse_kl")
@dataclass
class ReverseKL(DensityObjective):
    r"""KL(q || p) = E_q [log q(y) - log p(y)], over points y = f(x) of the flow made from a minibatch x of its base.

    The parameters theta change the loss through y, and through the log density at y. At a fixed y, the second part of
    the gradient, E_q [dlog q(y) / dtheta], is 0. `gradient=path` leaves it out: the same loss, the same mean of the
    gradient, and another variance. If the flow equals the target, the path gradient of every minibatch is 0, and the
    full one is not.

    Arguments:
        gradient: "full", or "path" for the path-derivative gradient, also called sticking the landing. It takes one
            more pass of the inverse, and d + 1 more of the forward direction where the inverse takes d passes.
        anneal: see DensityObjective.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
        | Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference (Geoffrey Roeder,
        | Yuhuai Wu, David Duvenaud, 2017)
        | https://arxiv.org/abs/1703.09194

    Example:
        >>> import torch
        >>> from flowlab import Flow, StandardNormal
        >>> from flowlab.bijectors import LowRankAffine
        >>> from flowlab.objectives import ReverseKL
        >>> from flowlab.targets import Gaussian
        >>> from flowlab.targets.base import Batch
        >>> flow, target = Flow(StandardNormal(2), LowRankAffine(2)), Gaussian()
        >>> batch = Batch(flow.rsample_base((64,), generator=torch.Generator().manual_seed(0)))
        >>> torch.equal(ReverseKL()(flow, batch, target), ReverseKL(gradient="path")(flow, batch, target))
        True
    """

    label: ClassVar[str] = "reverse KL (training)"

    gradient: str = setting("full", choices=("full", "path"))

    def __call__(self, flow: Flow, batch: Batch, target: ExactTarget) -> Tensor:  # type: ignore[override]
        from flowlab.autocast import full_precision
        from flowlab.objectives._score import along_path

        y, log_prob = flow.push_forward(batch.x, batch.context)
        with full_precision(y):
            if self.gradient == "path":
                log_prob = along_path(flow, batch.x, y, log_prob, batch.context)
            return (log_prob - self.log_density(target, y, batch)).mean()
