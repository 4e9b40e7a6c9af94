"""What is minimised: a number for a flow and a minibatch."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from flowlab.autocast import full_precision
from flowlab.flow import Flow
from flowlab.targets.base import ExactTarget


class Objective(ABC):
    """A loss in nats.

    Attributes:
        inverse: the minibatch holds points of the target, which the flow takes back to its base; otherwise it holds
            points of the base.
    """

    inverse: bool

    @abstractmethod
    def __call__(self, flow: Flow, batch: Tensor) -> Tensor:
        """The loss of a minibatch, of shape ()."""


class MaximumLikelihood(Objective):
    """-mean log q(x) over points x of the target: the average negative log likelihood."""

    inverse = True

    def __call__(self, flow: Flow, batch: Tensor) -> Tensor:
        return -flow.prepared().log_prob(batch).mean()


class ReverseKL(Objective):
    """KL(q || p) = E_q [log q(y) - log p(y)], over points y of the flow made from a minibatch of its base.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
    """

    inverse = False

    def __init__(self, target: ExactTarget) -> None:
        self.target = target

    def __call__(self, flow: Flow, batch: Tensor) -> Tensor:
        y, log_prob = flow.push_forward(batch)
        with full_precision(y):
            return (log_prob - self.target.log_prob(y)).mean()


class Mixed(Objective):
    """Another objective in mixed precision: products of points with matrices in bfloat16, all else as it is.

    The gradients of such a product are products of bfloat16 too; those of the parameters have the parameters' dtype.

    Reference:
        | Mixed Precision Training (Paulius Micikevicius et al., 2018)
        | https://arxiv.org/abs/1710.03740
    """

    def __init__(self, objective: Objective) -> None:
        self.objective, self.inverse = objective, objective.inverse

    def __call__(self, flow: Flow, batch: Tensor) -> Tensor:
        with torch.autocast(batch.device.type, torch.bfloat16):
            return self.objective(flow, batch)
