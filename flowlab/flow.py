"""A flow: a base distribution pushed through a bijector, and the torch distribution that it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from flowlab.autocast import lowers, raised
from flowlab.bijectors.base import Bijector, sum_rightmost
from flowlab.bijectors.blocks import are_many, in_blocks, may_look
from flowlab.bijectors.compose import added_dims, stages
from flowlab.constraints import (
    clamp_to,
    event_constraint,
    holds_for_all,
    is_thin,
    is_unbounded,
    open_interval,
    replace_outside,
)
from flowlab.distributions.base import Base

if TYPE_CHECKING:
    import pandas

# The inverse of a stage: points and a context to pre-images and log dets.
Pull = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]

FINITE = open_interval(-torch.inf, torch.inf)


class Flow(nn.Module):
    r"""The distribution of y = f(x) with x from a base: log p(y) = log p_base(f^-1(y)) + log |det df^-1/dy|.

    Arguments:
        base: a `flowlab.distributions.base.Base` such as StandardNormal, or any torch distribution, whose tensors become buffers.
        bijector: f, from the base to the data. Its parameters are the flow's.

    Densities are in nats and -inf outside the support. Where the bijector covers more dimensions than an event of
    the base, batch dimensions of the base count as the event.

    Example:
        >>> import torch
        >>> from flowlab import Flow
        >>> from flowlab.bijectors import Exp
        >>> flow = Flow(torch.distributions.Normal(0.0, 1.0), Exp())  # a LogNormal
        >>> flow.log_prob(torch.tensor([-1.0, 1.0]))
        tensor([   -inf, -0.9189])
    """

    def __init__(self, base: Base | Distribution, bijector: Bijector) -> None:
        super().__init__()
        self.base = base if isinstance(base, Base) else Base(base)
        self.bijector = bijector
        self._base_event_dim = max(len(self.base.event_shape), bijector.event_dim)
        self.event_dim = self._base_event_dim + added_dims(bijector)
        self._promoted = self._base_event_dim - len(self.base.event_shape)
        if self._promoted > len(self.base.batch_shape):
            raise ValueError(
                f"Flow: the bijector maps events of {bijector.event_dim} dimension(s), but the base has shape "
                f"{tuple(self.base.batch_shape + self.base.event_shape)}; give the base as many dimensions"
            )
        support = self.base.distribution().support
        first = stages(bijector)[:1]
        if first and support is not None and is_thin(support) and not is_thin(first[0].domain):
            raise ValueError(
                f"Flow: {type(first[0]).__name__} maps all numbers, but the base lies on {support}, which has fewer "
                "free coordinates than numbers; begin with a map from there, such as SoftmaxCentered().inv on a simplex"
            )

    def forward(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """The log density, so that wrappers that go through `forward` reach it."""
        return self.log_prob(y, context)

    def log_prob(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats of points of shape (*, event); of shape (*); -inf outside the support, never NaN.

        A point with a coordinate that is infinite or NaN is outside.

        Raises:
            NoInverseError: the bijector has no exact inverse.
        """
        pulls = [stage.inverse_and_log_det for stage in stages(self.bijector)]
        return self._in_blocks(lambda block: self.pull_back(block, pulls, context), y, context)

    def inverse_and_log_prob(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The pre-images f^-1(y), NaN outside the support, and the log densities in nats, in one pass: see log_prob."""
        x, log_prob = self._pull(y, [stage.inverse_and_log_det for stage in stages(self.bijector)], context)
        inside = (log_prob > -torch.inf).view(log_prob.shape + (1,) * (x.ndim - log_prob.ndim))
        return torch.where(inside, x, torch.nan), log_prob

    def pull_back(self, y: Tensor, pulls: Sequence[Pull], context: Tensor | None = None) -> Tensor:
        """The log density by way of given inverses of the stages, in the order of the stages: see log_prob."""
        return self._pull(y, pulls, context)[1]

    def _pull(self, y: Tensor, pulls: Sequence[Pull], context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The point of the base that y comes from, or any where there is none, and the log density of y."""
        event_dim = self.event_dim
        y = y if y.is_floating_point() else y.to(torch.get_default_dtype())
        y = raised(y) if lowers(y) else y
        looks = may_look(y)  # then points that are all inside need no verdict on each
        inside: Tensor | None = None
        if not (looks and holds_for_all(FINITE, y)):
            inside = _of_event(y.abs() < torch.inf, event_dim)
            y = y.nan_to_num(0.0, 0.0, 0.0)
        log_det_sum: Tensor | None = None
        for stage, pull in zip(reversed(stages(self.bijector)), reversed(pulls), strict=True):
            image = stage.codomain
            if not is_unbounded(image) and not (looks and holds_for_all(image, y)):
                # What has left the image of a stage is replaced before it can make a NaN, even in a gradient.
                verdict = image.check(y)
                of_event = _of_event(verdict, event_dim - image.event_dim)
                inside = of_event if inside is None else inside & of_event
                y = replace_outside(y, verdict, image)
            y, log_det = pull(y, context)
            log_det = sum_rightmost(log_det, event_dim - stage.image_event_dim)
            log_det_sum = log_det if log_det_sum is None else log_det_sum + log_det
            event_dim -= added_dims(stage)
        log_prob = sum_rightmost(self.base.log_prob(y), self._promoted)
        if log_det_sum is not None:
            log_prob = log_prob + log_det_sum
        if inside is not None:
            log_prob = torch.where(inside, log_prob, -torch.inf)
        # A point near the largest number can overflow on its way to the base, to NaN.
        return y, log_prob.nan_to_num(-torch.inf, torch.inf, -torch.inf)

    def rsample(
        self,
        shape: torch.Size | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples of shape sample + batch + event through which gradients flow to the parameters."""
        return self.bijector.forward(self.base.rsample(shape, generator), context)

    def sample(
        self,
        shape: torch.Size | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples of shape sample + batch + event, without gradient; from torch's global stream without a generator."""
        with torch.no_grad():
            x = self.base.sample(shape, generator)
            return self._in_blocks(lambda block: self.bijector.forward(block, context), x, context)

    def rsample_and_log_prob(
        self,
        shape: torch.Size | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Samples and their log densities in nats in one pass; no inverse is needed."""
        return self.push_forward(self.base.rsample(shape, generator), context)

    def push_forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The images y = f(x) of given points of the base, and the log densities of y in nats."""
        y, log_det = self.bijector.forward_and_log_det(x, context)
        log_det = sum_rightmost(log_det, self._base_event_dim - self.bijector.event_dim)
        return y, sum_rightmost(self.base.log_prob(x), self._promoted) - log_det

    def _in_blocks(self, work: Callable[[Tensor], Tensor], points: Tensor, context: Tensor | None) -> Tensor:
        """work(points), in blocks where all is elementwise and no parameter differs along the first dimension."""
        if context is not None or not may_look(points) or not are_many(points):
            return work(points)
        elementwise = self.bijector.event_dim == self.bijector.image_event_dim == 0
        held = [tensor.ndim for tensor in (*self.bijector.parameters(), *self.bijector.buffers())]
        reach = max(len(self.base.batch_shape + self.base.event_shape), *held, 0)
        return in_blocks(work, points) if elementwise and points.ndim > reach else work(points)

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        """The flow as a `torch.distributions.Distribution`."""
        return FlowDistribution(self, context)

    def summary(self) -> pandas.DataFrame:
        """A table of the base and the layers in the order applied: shapes, and how many numbers are learned."""
        from flowlab.bijectors.summary import summarize_flow

        return summarize_flow(self.base, self.bijector)

    def _repr_html_(self) -> str:
        return self.summary().to_html()


def _of_event(verdict: Tensor, dims: int) -> Tensor:
    """A verdict on the parts of an event, which lie along the last `dims` dimensions, as one on the event."""
    return verdict.flatten(-dims).all(-1) if dims > 0 else verdict


class FlowDistribution(Distribution):
    """A flow as a torch distribution: sample, rsample, log_prob; cdf, icdf, entropy and mean where they exist."""

    arg_constraints: dict[str, Constraint] = {}
    has_rsample = True

    def __init__(self, flow: Flow, context: Tensor | None = None) -> None:
        self.flow, self.context = flow, context
        shape = flow.bijector.forward_shape(flow.base.batch_shape + flow.base.event_shape)
        split = len(shape) - flow.event_dim
        super().__init__(shape[:split], shape[split:], validate_args=False)

    @property
    def support(self) -> Constraint:
        """Where the last stage maps to; the support itself can be smaller, and log_prob is -inf on the rest."""
        return event_constraint(self.flow.bijector.codomain, self.flow.event_dim)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self.flow.sample(torch.Size(sample_shape), self.context)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self.flow.rsample(torch.Size(sample_shape), self.context)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.flow.log_prob(value, self.context)

    def cdf(self, value: Tensor) -> Tensor:
        """P(Y <= value); 0 below the support and 1 above it.

        Raises:
            NotImplementedError: the map is of vectors, or is not monotone, or the base has no cdf.
        """
        sign = self._sign("cdf")
        for stage in reversed(stages(self.flow.bijector)):
            limits = torch.finfo(value.dtype)
            value = stage.inverse(clamp_to(value, stage.codomain), self.context).clamp(limits.min, limits.max)
        base = self.flow.base.distribution()
        below = base.cdf(clamp_to(value, base.support))  # type: ignore[arg-type]
        return torch.where(sign > 0, below, 1 - below)

    def icdf(self, value: Tensor) -> Tensor:
        """The quantile y with P(Y <= y) = value.

        Raises:
            NotImplementedError: the map is of vectors, or is not monotone, or the base has no icdf.
        """
        sign = self._sign("icdf")
        x = self.flow.base.distribution().icdf(torch.where(sign > 0, value, 1 - value))
        return self.flow.bijector.forward(x, self.context)

    def entropy(self) -> Tensor:
        """-E log p in nats: that of the base plus the log det, where the log det is constant.

        Raises:
            NotImplementedError: the log det depends on x; estimate -E log p from samples instead.
        """
        bijector = self.flow.bijector
        if not bijector.constant_log_det:
            raise NotImplementedError(
                f"entropy: the log det of {type(bijector).__name__} depends on x, so there is no closed form; "
                "average -log_prob over samples instead"
            )
        base = self.flow.base.distribution()
        log_det = bijector.forward_and_log_det(torch.zeros_like(base.mean), self.context)[1]
        return sum_rightmost(base.entropy(), self.flow._promoted) + sum_rightmost(
            log_det, self.flow._base_event_dim - bijector.event_dim
        )

    @property
    def mean(self) -> Tensor:
        """E Y, where the map is affine.

        Raises:
            NotImplementedError: the map is not affine; average samples instead.
        """
        if not self.flow.bijector.affine:
            raise NotImplementedError(
                f"mean: {type(self.flow.bijector).__name__} is not affine, so the mean has no closed form; "
                "average samples instead"
            )
        return self.flow.bijector.forward(self.flow.base.distribution().mean, self.context)

    def _sign(self, what: str) -> Tensor:
        sign = torch.as_tensor(self.flow.bijector.sign)
        if self.flow.event_dim or not sign.any():
            raise NotImplementedError(f"{what}: only a monotone elementwise map of a scalar base has one")
        return sign
