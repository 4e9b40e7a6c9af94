"""A flow as a torch distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions.constraints import Constraint

from flowlab.autocast import call_in
from flowlab.bijectors.base import Bijector, check_event_shape, sum_rightmost
from flowlab.bijectors.compose import stages
from flowlab.bijectors.shapes import push_support
from flowlab.distributions.base import as_points, known_support
from flowlab.distributions.tails import MappedTails, map_tails, tails_of
from flowlab.torch_distributions import event_constraint

if TYPE_CHECKING:
    from flowlab.flow import Flow


class FlowDistribution(Distribution):
    """A flow as a torch distribution: sample, rsample, log_prob; where they exist cdf, icdf, entropy and moments.

    A quantity that has no closed form raises a NotImplementedError that says why.

    Arguments:
        flow: the flow.
        context: of shape (*batch, c), or None. Its batch is part of the batch of the distribution.
    """

    arg_constraints: dict[str, Constraint] = {}
    has_rsample = True

    def __init__(self, flow: Flow, context: Any = None) -> None:
        self.flow = flow
        self.context = None if context is None else as_points(context, flow.anchor)
        super().__init__(flow.batch_shape(self.context), flow.event_shape, validate_args=False)

    @property
    def bijector(self) -> Bijector:
        return self.flow.bijector

    @property
    def support(self) -> Constraint:
        """The codomain of the last stage; the support itself can be smaller, and log_prob is -inf on the rest."""
        return event_constraint(self.bijector.codomain, self.flow.event_dim)

    def known_support(self) -> Constraint | None:
        """The support itself; None where it is unknown."""
        return push_support(known_support(self.flow.base.distribution()), stages(self.bijector), "Flow")

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> FlowDistribution:
        """The same distribution with a larger batch, of independent samples.

        Raises:
            ValueError: the batch of the distribution does not broadcast to it.
        """
        batch = torch.Size(batch_shape)
        own = self.batch_shape
        if len(own) > len(batch) or any(a not in (1, b) for a, b in zip(own[::-1], batch[::-1], strict=False)):
            raise ValueError(f"expand: a batch of shape {tuple(own)} does not broadcast to {tuple(batch)}")
        new = FlowDistribution(self.flow, self.context)
        new._batch_shape = batch
        return new

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        if self.batch_shape == self.flow.batch_shape(self.context):
            return self.flow.sample(sample_shape, self.context)
        with torch.no_grad():
            return self._map(self.flow.base.sample(sample_shape, None, self._base_batch_shape))

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self._map(self.flow.base.rsample(sample_shape, None, self._base_batch_shape))

    def log_prob(self, value: Any) -> Tensor:
        return self._expand(self.flow.log_prob(value, self.context))

    def cdf(self, value: Any) -> Tensor:
        """P(Y <= value) for scalars, or for vectors of one coordinate; 0 below the support and 1 above it.

        Probabilities and quantiles are computed in float64 from the nearer tail.

        Raises:
            NotImplementedError: the map is not known to be monotone, or the base has none.
        """
        return self._tail("cdf", value)

    def survival_function(self, value: Any) -> Tensor:
        """P(Y > value), as accurate for a small probability as `cdf`."""
        return self._tail("cdf", value, upper=True)

    def log_cdf(self, value: Any) -> Tensor:
        """log P(Y <= value) in nats."""
        return self._tail("log_cdf", value)

    def log_survival_function(self, value: Any) -> Tensor:
        """log P(Y > value) in nats."""
        return self._tail("log_cdf", value, upper=True)

    def icdf(self, value: Any) -> Tensor:
        """The quantile y with P(Y <= y) = value: one event for each probability."""
        return self._tail("icdf", value)

    def tails(self, name: str) -> MappedTails:
        """The tails of a scalar flow; `name` is the quantity that an error names."""
        flow, base = self.flow, self.flow.base.distribution()
        if self.event_shape not in ((), (1,)):
            raise NotImplementedError(f"{name}: only a flow of scalars, or of vectors of one coordinate, has one")
        sign = torch.as_tensor(self.bijector.sign)
        if not sign.all():
            if flow.event_dim == 0:
                raise NotImplementedError(f"{name}: only a monotone elementwise map of a scalar base has one")
            ends = [tails_of(base).icdf(flow.anchor.new_full((1,), quarter), False) for quarter in (0.25, 0.75)]
            low, high = (self.bijector.forward(*flow.broadcast(end, self.context, 1)) for end in ends)
            sign = (high - low).sign()  # an invertible map of a line is monotone
        return map_tails(base, stages(self.bijector), sign, self.context)

    def _tail(self, name: str, value: Any, upper: bool = False) -> Tensor:
        flow = self.flow
        value = as_points(value, flow.anchor)
        is_vector = self.event_shape == (1,)
        if is_vector and name == "icdf":
            value = value[..., None]
        elif is_vector:
            check_event_shape("Flow", value.shape, self.event_shape)
        context = self.context

        def compute(flow: Flow, value: Tensor, context: Tensor | None) -> Tensor:
            value, context = flow.broadcast(value, context, flow.event_dim)
            tails = FlowDistribution(flow, context).tails(name)
            return getattr(tails, name)(value, upper)

        dtype = torch.promote_types(value.dtype, flow.anchor.dtype)
        try:
            result = call_in(torch.float64, flow, compute, value, context).to(dtype)
        except NotImplementedError as error:
            base = type(flow.base.distribution()).__name__
            raise NotImplementedError(f"{error}" or f"{name}: torch gives {base} none; count samples instead") from None
        if name == "icdf":
            return result.expand(torch.broadcast_shapes(result.shape, self.batch_shape + self.event_shape))
        return self._expand(result[..., 0] if is_vector else result)

    @property
    def _base_batch_shape(self) -> torch.Size:
        return self.batch_shape + self.flow._promoted_shape

    def _map(self, x: Tensor) -> Tensor:
        return self.bijector.forward(*self.flow.broadcast(x, self.context, self.flow.base_event_dim))

    def _expand(self, value: Tensor) -> Tensor:
        return value.expand(torch.broadcast_shapes(value.shape, self.batch_shape))

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

    @property
    def variance(self) -> Tensor:
        """The variance of each number of Y, where the map is affine.

        Raises:
            NotImplementedError: the map is not affine, or mixes coordinates of the base that may depend on each other.
        """
        if not self.bijector.affine:
            raise NotImplementedError(
                f"variance: {type(self.bijector).__name__} is not affine, so the variance has no closed form; take the "
                "variance of samples instead"
            )
        result = call_in(torch.float64, self.flow, _variance, self.flow.anchor, self.context)
        return result.to(self.flow.anchor.dtype).expand(self.batch_shape + self.event_shape)


def _variance(flow: Flow, anchor: Tensor, context: Tensor | None) -> Tensor:
    event, base = flow.base_event_shape, flow.base.distribution()
    batch = flow.batch_shape(context)
    zero = anchor.new_zeros(batch + event)
    if flow.bijector.event_dim == flow.bijector.image_event_dim == 0:
        slope = flow.bijector.forward(zero + 1, context) - flow.bijector.forward(zero, context)
        return base.variance * slope.square()
    independent = base.base_dist if isinstance(base, Independent) else base
    if independent.event_shape:
        raise NotImplementedError(
            f"variance: {type(base).__name__} may have dependent coordinates, which {type(flow.bijector).__name__} "
            "mixes; take the variance of samples instead"
        )
    units = torch.eye(event.numel(), dtype=anchor.dtype, device=anchor.device)
    units = units.view(event.numel(), *(1,) * len(batch), *event) + zero
    columns = flow.bijector.forward(units, context) - flow.bijector.forward(zero, context)
    weights = base.variance.expand(batch + event).flatten(len(batch)).movedim(-1, 0)
    return (columns.square() * weights.view(*weights.shape, *(1,) * flow.event_dim)).sum(0)
