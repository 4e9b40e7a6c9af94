"""What is minimised: a number for a flow and a minibatch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from flowlab.flow import Flow
from flowlab.targets.base import ExactTarget
from flowlab.training.fast_log_prob import fast_log_prob

Objective = Callable[[Flow, Tensor], Tensor]


def maximum_likelihood(flow: Flow, batch: Tensor) -> Tensor:
    """-mean log q(x) over points x of the target, in nats: the average negative log likelihood."""
    return -fast_log_prob(flow, batch).mean()


def reverse_kl(target: ExactTarget) -> Objective:
    """KL(q || p) = E_q [log q(y) - log p(y)] in nats, over points y of the flow made from a minibatch of its base.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
    """

    def objective(flow: Flow, batch: Tensor) -> Tensor:
        y, log_prob = flow.push_forward(batch)
        return (log_prob - target.log_prob(y)).mean()

    return objective
