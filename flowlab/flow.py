"""A flow: a base distribution pushed through a bijector."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution, constraints

from flowlab.autocast import HALF, call_in_common, is_any_autocast_on, is_autocast_on, upcast
from flowlab.bijectors.base import Bijector, check_event_shape, sum_rightmost
from flowlab.bijectors.compose import method_of_parts, prepare, push_forward, stages, uncovered_dims
from flowlab.bijectors.shapes import broadcast_batches, check_batch, push_support, summarize
from flowlab.distributions.base import Base, Shape, as_points, known_support
from flowlab.distributions.flow_distribution import FlowDistribution
from flowlab.torch_distributions import (
    NUMBERS,
    can_branch_on_values,
    holds_for_all,
    is_unbounded,
    open_interval,
    replace_outside,
)

if TYPE_CHECKING:
    import pandas

FINITE = open_interval(-torch.inf, torch.inf)
REAL, REAL_VECTOR = constraints.real, constraints.real_vector
NUMBERS_PER_THREAD = 2**17  # in a block: large enough to hide the start of an operation, small enough for a cache
MULTIPLE = 64  # of the widest vector of a processor: only the remainder at the end of a tensor is rounded differently


class Flow(nn.Module):
    r"""The distribution of y = f(x) with x from a base: log p(y) = log p_base(f^-1(y)) + log |det df^-1/dy|.

    Arguments:
        base: a `flowlab.distributions.base.Base` such as StandardNormal, or any torch distribution, whose tensors
            become buffers.
        bijector: f, from the base to the data. Its parameters are the flow's.

    Densities are in nats and -inf outside the support. Where the bijector covers more dimensions than an event of
    the base, batch dimensions of the base count as the event.

    Points are tensors, numpy arrays, DataFrames or lists of numbers, of shape (*, event). Arrays, DataFrames, lists and
    integers are converted to the flow's dtype. A floating-point tensor in a different dtype is computed in the wider of
    both, and half precision in float32: see `Bijector`.

    A context has shape (*batch, c): its last dimension is the context vector, all dimensions before it are batch. The
    batch of the flow is the broadcast of the batches of the base, the parameters and the context. Samples draw
    independent noise for all of it, and `log_prob` broadcasts it against the points.

    Attributes:
        event_shape: the shape of one point.
        event_dim: how many dimensions one point has.

    Raises:
        ValueError: the base does not have events that the bijector takes, is discrete, or is known to lie outside the
            domain of a stage.
        TypeError: there is no base, or no bijector.

    Example:
        >>> import torch
        >>> from flowlab import Flow
        >>> from flowlab.bijectors import Exp
        >>> flow = Flow(torch.distributions.Normal(0.0, 1.0), Exp())  # a LogNormal
        >>> flow.log_prob([-1.0, 1.0])
        tensor([   -inf, -0.9189])
    """

    def __init__(self, base: Base | Distribution, bijector: Bijector) -> None:
        super().__init__()
        if not isinstance(base, Base | Distribution) or not isinstance(bijector, Bijector):
            given = f"{type(base).__name__}, {type(bijector).__name__}"
            raise TypeError(f"Flow takes a base and a bijector, got {given}; several bijectors are a Chain([f, g])")
        self.base = base if isinstance(base, Base) else Base(base)
        self.bijector = bijector
        shape = self.base.batch_shape + self.base.event_shape
        self.base_event_dim = max(len(self.base.event_shape), bijector.event_dim)
        self.event_dim = self.base_event_dim + bijector.added_dims
        self.promoted_dims = self.base_event_dim - len(self.base.event_shape)
        if self.base_event_dim > len(shape):
            raise ValueError(
                f"Flow: the bijector maps events of {bijector.event_dim} dimension(s), but the base has shape "
                f"{tuple(shape)}; give the base as many dimensions"
            )
        self.base_event_shape = shape[len(shape) - self.base_event_dim :]
        try:
            image = bijector.forward_shape(shape)
            check_event_shape(type(bijector).__name__, bijector.inverse_shape(image), self.base_event_shape)
        except ValueError as error:
            raise ValueError(
                f"Flow: the base has events of shape {tuple(self.base_event_shape)}, which do not fit the bijector: "
                f"{error}"
            ) from None
        self.event_shape, self._batch_shape = image[len(image) - self.event_dim :], image[: len(image) - self.event_dim]
        self._stages = parts = tuple(stages(bijector))
        self._uncovered = uncovered_dims(parts, self.base_event_dim)
        # Rows of points of more dimensions than this are known to be mapped in the same way; None: nothing is known.
        self._row_ndim = None if (own := bijector.parameter_shape) is None else max(len(own), len(shape))
        support = known_support(self.base.distribution())
        if {support, *map(attrgetter("domain"), parts)} - NUMBERS:
            push_support(support, parts, "Flow")

    @property
    def anchor(self) -> Tensor:
        """An empty tensor on the device and in the dtype of the flow."""
        return self.base.anchor

    def forward(self, y: Any, context: Any = None) -> Tensor:
        """The log density, for wrappers that call `forward`."""
        return self.log_prob(y, context)

    def log_prob(self, y: Any, context: Any = None) -> Tensor:
        """Log density in nats of points of shape (*, event); of shape (*); -inf outside the support, never NaN.

        A point with an infinite or NaN coordinate is outside the support.

        Raises:
            NoInverseError: the bijector has no exact inverse.
            ValueError: the points do not have the shape of an event, or their batch does not broadcast against the
                context's.
        """
        y, context = self.broadcast(y, context, self.event_dim)
        return self._map_blocks(lambda block: self._pull_back(self._stages, block, context)[1], y, context)

    def inverse_and_log_prob(self, y: Any, context: Any = None) -> tuple[Tensor, Tensor]:
        """The pre-images f^-1(y), NaN outside the support, and the log densities in nats, in one pass: see log_prob."""
        x, log_prob = self._pull_back(self._stages, *self.broadcast(y, context, self.event_dim))
        inside = (log_prob > -torch.inf).view(log_prob.shape + (1,) * (x.ndim - log_prob.ndim))
        return torch.where(inside, x, torch.nan), log_prob

    def rsample(self, shape: Shape = (), context: Any = None, generator: Generator | None = None) -> Tensor:
        """Samples of shape sample + batch + event through which gradients flow to the parameters."""
        x = self.rsample_base(shape, context, generator)
        return self.bijector.forward(*self.broadcast(x, context, self.base_event_dim))

    def sample(self, shape: Shape = (), context: Any = None, generator: Generator | None = None) -> Tensor:
        """Samples of shape sample + batch + event, without gradient; from torch's global stream without a generator."""
        with torch.no_grad():
            x = self.base.sample(shape, generator, self.batch_shape(context) + self._promoted_shape)
            x, context = self.broadcast(x, context, self.base_event_dim)
            return self._map_blocks(lambda block: self.bijector.forward(block, context), x, context)

    def rsample_and_log_prob(
        self, shape: Shape = (), context: Any = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Samples and their log densities in nats in one pass; no inverse is needed."""
        return self.push_forward(self.rsample_base(shape, context, generator), context)

    def rsample_base(self, shape: Shape = (), context: Any = None, generator: Generator | None = None) -> Tensor:
        """Samples of the base for `push_forward`: independent ones for the whole batch of the flow with a context."""
        return self.base.rsample(shape, generator, self.batch_shape(context) + self._promoted_shape)

    def push_forward(self, x: Any, context: Any = None) -> tuple[Tensor, Tensor]:
        """The images y = f(x) of given points of the base, and the log densities of y in nats."""
        return self._push_forward(self._stages, x, context)

    def prepared(self) -> PreparedFlow:
        """The flow for its present parameters, faster for the log densities of one training step."""
        return PreparedFlow(self)

    def batch_shape(self, context: Any = None) -> torch.Size:
        """The broadcast of the batch shapes of the base, the parameters and a context."""
        if context is None:
            return self._batch_shape
        return broadcast_batches(self._batch_shape, as_points(context, self.anchor).shape)

    def broadcast(self, points: Any, context: Any, event_dim: int) -> tuple[Tensor, Tensor | None]:
        """Points and a context as tensors, the points expanded to the batch of both.

        Arguments:
            points: of shape (*batch, *event), where an event has `event_dim` dimensions.
            context: of shape (*batch, c), or None.
        """
        if not (isinstance(points, Tensor) and points.is_floating_point()):
            points = as_points(points, self.anchor)
        if context is None:
            return points, None
        context = as_points(context, self.anchor)
        context = context.to(torch.promote_types(points.dtype, self.anchor.dtype))
        event = points.ndim - event_dim
        batch = broadcast_batches(points.shape[:event], context.shape)
        return points.expand(batch + points.shape[event:]), context

    def distribution(self, context: Any = None) -> FlowDistribution:
        """The flow as a `torch.distributions.Distribution`."""
        return FlowDistribution(self, context)

    def summary(self) -> pandas.DataFrame:
        """A table of the base and the layers in the order applied: shapes, and how many numbers are learned."""
        return summarize([self.base, *self._stages], first=0)

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    def _map_blocks(self, function: Callable[[Tensor], Tensor], points: Tensor, context: Tensor | None) -> Tensor:
        """function(points), in blocks where every coordinate of every row is known to be mapped in the same way."""
        known = context is None and self._row_ndim is not None and points.ndim > self._row_ndim
        return map_blocks(function, points) if known and can_branch_on_values(points) else function(points)

    @property
    def _promoted_shape(self) -> torch.Size:
        return self.base_event_shape[: self.promoted_dims]

    def _pull_back(self, parts: Sequence[Bijector], y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The pre-image of y, an arbitrary point where there is none, and the log density of y."""
        event_dim = self.event_dim
        if y.shape[y.ndim - event_dim :] != self.event_shape:
            check_event_shape("Flow", y.shape, self.event_shape)
        if self._batch_shape:
            check_batch(y.shape[: y.ndim - event_dim], self._batch_shape)
        y = upcast(y) if is_any_autocast_on() and is_autocast_on(y) else y
        if (own := self.base.anchor.dtype) is not y.dtype or own in HALF:
            return call_in_common(self, own, lambda flow, *given: flow._pull_back(flow._stages, *given), y, context)
        branches = can_branch_on_values(y)  # then points that are all inside need no check of each
        inside: Tensor | None = None
        if not (branches and holds_for_all(FINITE, y)):
            inside = _all_of_event(y.abs() < torch.inf, event_dim)
            y = y.nan_to_num(0.0, 0.0, 0.0)
        log_det_sum: Tensor | None = None
        method = method_of_parts("inverse_and_log_det")
        for part, dims in zip(reversed(parts), reversed(self._uncovered), strict=True):
            image = part.codomain
            bounded = image is not REAL and image is not REAL_VECTOR and not is_unbounded(image)
            if bounded and not (branches and holds_for_all(image, y)):
                # Replace values outside the codomain first, so no NaN can form, not even in a gradient.
                in_image = image.check(y)
                event_in_image = _all_of_event(in_image, len(dims) + part.image_event_dim - image.event_dim)
                inside = event_in_image if inside is None else inside & event_in_image
                y = replace_outside(y, in_image, image)
            y, log_det = getattr(part, method)(y, context)
            if dims:
                constant = part.constant_log_det  # then it may be given once for all points
                log_det = (log_det.expand(y.shape[: y.ndim - part.event_dim]) if constant else log_det).sum(dims)
            log_det_sum = log_det if log_det_sum is None else log_det_sum + log_det
        log_prob = self.base.log_prob(y)
        if self.promoted_dims:
            log_prob = sum_rightmost(log_prob, self.promoted_dims)
        if log_det_sum is not None:
            log_prob = log_prob + log_det_sum
        if inside is not None:
            log_prob = torch.where(inside, log_prob, -torch.inf)
        # A point near the largest number can overflow on its way to the base, to NaN.
        return y, log_prob.nan_to_num(-torch.inf, torch.inf, -torch.inf)

    def _push_forward(self, parts: Sequence[Bijector], x: Any, context: Any) -> tuple[Tensor, Tensor]:
        """The image of x, and the log density of the image."""
        x, context = self.broadcast(x, context, self.base_event_dim)
        check_event_shape("Flow.push_forward", x.shape, self.base_event_shape)
        if (own := self.base.anchor.dtype) is not x.dtype or own in HALF:
            return call_in_common(self, own, Flow.push_forward, x, context)
        y, log_det = push_forward(parts, self._uncovered, x, context)
        log_prob = self.base.log_prob(x)
        if self.promoted_dims:
            log_prob = sum_rightmost(log_prob, self.promoted_dims)
        return y, log_prob if log_det is None else log_prob - log_det


class PreparedFlow:
    """A flow for fixed parameters: all work on the parameters alone is done once, for all layers of one kind together.

    Log densities and gradients are the flow's up to rounding. Make a new one whenever the parameters have changed.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow, self.stages = flow, prepare(flow._stages)

    def log_prob(self, y: Any, context: Any = None) -> Tensor:
        """As `Flow.log_prob`."""
        flow = self.flow
        return flow._pull_back(self.stages, *flow.broadcast(y, context, flow.event_dim))[1]

    def push_forward(self, x: Any, context: Any = None) -> tuple[Tensor, Tensor]:
        """As `Flow.push_forward`."""
        return self.flow._push_forward(self.stages, x, context)


def _all_of_event(mask: Tensor, dims: int) -> Tensor:
    """A mask on the parts of an event, along the last `dims` dimensions, as a mask on the event."""
    return mask.flatten(-dims).all(-1) if dims > 0 else mask


def map_blocks(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """function(points), computed a block of rows at a time, so intermediate results fit into a cache.

    A large tensor that lives for one operation costs more than the arithmetic: the system allocates, clears and frees
    its memory. Small blocks reuse the same memory.

    Arguments:
        function: it maps each row, along the first dimension, independently of the others.
        points: of shape (n, ...).
    """
    fitting = NUMBERS_PER_THREAD * torch.get_num_threads() // max(1, math.prod(points.shape[1:]))
    rows = max(1, fitting // MULTIPLE) * MULTIPLE
    return function(points) if len(points) <= rows else torch.cat([function(block) for block in points.split(rows)])
