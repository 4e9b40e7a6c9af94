"""A flow as a torch distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from flowlab.bijectors.base import sum_rightmost
from flowlab.bijectors.compose import stages
from flowlab.distributions.base import as_points
from flowlab.torch_distributions import clamp_to, event_constraint

if TYPE_CHECKING:
    from flowlab.flow import Flow


class FlowDistribution(Distribution):
    """A flow as a torch distribution: sample, rsample, log_prob; cdf, icdf, entropy and mean where they exist.

    A quantity that has no closed form raises a NotImplementedError that says why.

    Arguments:
        flow: the flow.
        context: of shape (*batch, c), or None. Its batch is part of the batch of the distribution.
    """

    arg_constraints: dict[str, Constraint] = {}
    has_rsample = True

    def __init__(self, flow: Flow, context: Any = None) -> None:
        self.flow, self.bijector = flow, flow.bijector
        self.context = None if context is None else as_points(context, flow.anchor)
        super().__init__(flow.batch_shape(self.context), flow.event_shape, validate_args=False)

    @property
    def support(self) -> Constraint:
        """The codomain of the last stage; the support itself can be smaller, and log_prob is -inf on the rest."""
        return event_constraint(self.bijector.codomain, self.flow.event_dim)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self.flow.sample(sample_shape, self.context)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self.flow.rsample(sample_shape, self.context)

    def log_prob(self, value: Any) -> Tensor:
        return self.flow.log_prob(value, self.context)

    def cdf(self, value: Any) -> Tensor:
        """P(Y <= value), of a monotone map of scalars; 0 below the support and 1 above it."""
        sign = self._sign("cdf")
        value, _ = self.flow.broadcast(value, self.context, 0)
        for stage in reversed(stages(self.bijector)):
            limits = torch.finfo(value.dtype)
            value = stage.inverse(clamp_to(value, stage.codomain), self.context).clamp(limits.min, limits.max)
        base = self.flow.base.distribution()
        below = base.cdf(clamp_to(value, base.support))  # type: ignore[arg-type]
        return torch.where(sign > 0, below, 1 - below)

    def icdf(self, value: Any) -> Tensor:
        """The quantile y with P(Y <= y) = value, of a monotone map of scalars."""
        sign = self._sign("icdf")
        value, _ = self.flow.broadcast(value, self.context, 0)
        x = self.flow.base.distribution().icdf(torch.where(sign > 0, value, 1 - value))
        return self.bijector.forward(x, self.context)

    def _sign(self, name: str) -> Tensor:
        sign = torch.as_tensor(self.bijector.sign)
        if self.flow.event_dim or not sign.any():
            raise NotImplementedError(f"{name}: only a monotone elementwise map of a scalar base has one")
        return sign

    def entropy(self) -> Tensor:
        """-E log p in nats: the entropy of the base plus the log det, where the log det is constant."""
        flow, bijector = self.flow, self.bijector
        if not bijector.constant_log_det:
            raise NotImplementedError(
                f"entropy: the log det of {type(bijector).__name__} depends on x, so there is no closed form; "
                "average -log_prob over samples instead"
            )
        base = flow.base.distribution()
        x = base.mean.new_zeros(self.batch_shape + flow.base_event_shape)
        log_det = bijector.forward_and_log_det(x, self.context)[1]
        log_det = sum_rightmost(log_det, flow.base_event_dim - bijector.event_dim)
        return sum_rightmost(base.entropy(), flow.promoted_dims) + log_det

    @property
    def mean(self) -> Tensor:
        """E Y, where the map is affine."""
        if not self.bijector.affine:
            raise NotImplementedError(
                f"mean: {type(self.bijector).__name__} is not affine, so the mean has no closed form; average samples "
                "instead"
            )
        mean = self.flow.base.distribution().mean
        return self.bijector.forward(mean.expand(self.batch_shape + self.flow.base_event_shape), self.context)
