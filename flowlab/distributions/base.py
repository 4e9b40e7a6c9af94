"""Base distributions as modules, and points of any kind as tensors."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
    constraints,
)
from torch.distributions.constraints import Constraint
from torch.nn.functional import pad

from flowlab.autocast import HALF, call_in_common, full_precision
from flowlab.bijectors.base import check_event_shape, sum_rightmost
from flowlab.bijectors.compose import stages
from flowlab.bijectors.shapes import push_support
from flowlab.bijectors.torch_adapters import from_transform
from flowlab.torch_distributions import (
    bounds,
    innermost,
    is_unbounded,
    loose_simplex,
    rebuild,
    register_contents,
    registered,
    replace_outside,
)

LOG_TWO_PI = math.log(2 * math.pi)

Shape = int | Sequence[int]  # the shape of a sample


def as_points(value: Any, like: Tensor) -> Tensor:
    """Points as a tensor: from a tensor, a numpy array, a DataFrame, or nested lists of numbers.

    A floating-point tensor is returned unchanged. Integers, arrays, DataFrames and lists are converted to the dtype of
    `like`; all but tensors are moved to its device.

    Raises:
        ValueError: the values are not numbers.
    """
    if isinstance(value, Tensor) and not value.is_complex():
        return value if value.is_floating_point() else value.to(like.dtype)
    array = value.to_numpy() if hasattr(value, "to_numpy") else value
    try:
        if (kind := getattr(getattr(array, "dtype", None), "kind", "")) == "c" or isinstance(value, Tensor):
            raise ValueError("its numbers are complex")
        if hasattr(array, "mask"):  # numpy's: what is masked is missing
            array = array.astype(float).filled(math.nan)
        if kind == "O" or (kind == "f" and array.dtype.itemsize > 8):  # columns of several types, or a wide float
            array = array.astype(float)
        if hasattr(array, "astype"):  # torch takes neither another byte order nor an array that is turned around
            array = array.astype(array.dtype.newbyteorder("="), order="C")
        return torch.tensor(array, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"points: a {type(value).__name__} that does not hold numbers alone ({error}); give numeric columns, such "
            "as frame.select_dtypes('number')"
        ) from None


def as_shape(shape: Shape) -> tuple[int, ...]:
    """The shape of a sample; a number is the shape of so many samples."""
    is_number = isinstance(shape, int) or getattr(shape, "shape", None) == ()  # a number of Python, numpy or torch
    try:
        sizes = tuple(map(operator.index, [shape] if is_number else shape))  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"shape={shape!r}: must be a number of samples, or a shape such as (5, 2)") from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape={shape!r}: must not be negative; give a number of samples, or a shape such as (5, 2)")
    return sizes


class Base(nn.Module):
    """A `torch.distributions` distribution as a module: its tensors are buffers, which move and save with it.

    A distribution that holds an `nn.Parameter` itself, as GumbelDifferences does, is learned, and so are the modules
    inside it, such as another flow. All other tensors are constants. Samples can be drawn from a given generator.

    Raises:
        ValueError: the distribution holds a tensor computed from an `nn.Parameter`, as most of torch's do in place of
            a parameter itself; it would not be learned.
    """

    anchor: Tensor  # empty; it knows the device and dtype of the module
    _template: Distribution

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        self.event_shape = distribution.event_shape
        self.batch_shape = distribution.batch_shape
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        vars(self)["_template"] = register_contents(self, distribution)  # not a submodule if it is a module

    @property
    def layer_name(self) -> str:
        """The name that a summary shows."""
        return type(self._template if type(self) is Base else self).__name__

    def distribution(self) -> Distribution:
        """The torch distribution, with this module's buffers and parameters."""
        return rebuild(self._template, registered(self))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats, -inf outside the support; of shape sample + batch.

        Raises:
            ValueError: the events of x do not have the shape of an event.
        """
        check_event_shape(type(self).__name__, x.shape, self.event_shape)
        if not x.numel():  # not all of torch's distributions take an empty batch
            points = x.shape[: x.ndim - len(self.event_shape)]
            return x.new_zeros(torch.broadcast_shapes(points, self.batch_shape))
        with full_precision(x):
            return _log_density(self.distribution(), x)

    def rsample(
        self, shape: Shape = (), generator: Generator | None = None, batch_shape: torch.Size | None = None
    ) -> Tensor:
        """Reparameterized samples of shape sample + batch + event.

        Arguments:
            shape: the shape of the sample.
            generator: the source of the samples; None is torch's global stream.
            batch_shape: independent samples for a batch that the distribution's own batch broadcasts to.
        """
        return self._draw("rsample", shape, generator, batch_shape)

    def sample(
        self, shape: Shape = (), generator: Generator | None = None, batch_shape: torch.Size | None = None
    ) -> Tensor:
        """Samples, also of distributions that are not reparameterized; see `rsample`."""
        return self._draw("sample", shape, generator, batch_shape)

    def _draw(self, method: str, shape: Shape, generator: Generator | None, batch_shape: torch.Size | None) -> Tensor:
        if self.anchor.dtype in HALF:  # not all of torch's distributions draw in half precision
            return call_in_common(
                self,
                None,
                lambda base, _, *given: base._draw(*given),
                self.anchor,
                method,
                shape,
                generator,
                batch_shape,
            )
        distribution, own = self.distribution(), self.batch_shape
        shape = as_shape(shape)
        if batch_shape is not None and batch_shape != own:
            added = len(batch_shape) - len(own)
            if batch_shape[added:] == own:  # more samples do, also where a distribution cannot be expanded
                shape = (*shape, *batch_shape[:added])
            else:
                distribution = distribution.expand(batch_shape)
        with full_precision(self.anchor):
            if generator is None:
                return getattr(distribution, method)(torch.Size(shape))
            # torch's distributions draw from the global stream alone: seed it for this draw, and restore it.
            seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
            devices = [generator.device] if generator.device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(seed)
                return getattr(distribution, method)(torch.Size(shape))

    def extra_repr(self) -> str:
        return str(self._template)


def _log_density(distribution: Distribution, x: Tensor) -> Tensor:
    """The log density of a torch distribution in nats, -inf outside the support."""
    if isinstance(distribution, Independent):
        parts = _log_density(distribution.base_dist, x)
        total = sum_rightmost(parts, distribution.reinterpreted_batch_ndims)
        return total.nan_to_num(-torch.inf, torch.inf, -torch.inf)  # a part outside beside an infinite density
    if isinstance(distribution, MixtureSameFamily):  # any component may support a point; torch asks for all
        weights = distribution.mixture_distribution.logits.log_softmax(-1)
        joint = weights + _log_density(distribution.component_distribution, distribution._pad(x))
        inside = (joint > -torch.inf).any(-1)
        return torch.where(inside, joint.where(inside[..., None], 0.0).logsumexp(-1), -torch.inf)
    support = distribution.support
    assert support is not None
    if is_unbounded(support):
        return distribution.log_prob(x)
    support = loose_simplex() if support is constraints.simplex else support
    inside = support.check(x)
    return torch.where(inside, distribution.log_prob(replace_outside(x, inside, support)), -torch.inf)


def known_support(distribution: Distribution) -> Constraint | None:
    """The support of a distribution, as an interval where it is one; None where only a part of it is known.

    Raises:
        ValueError: the distribution is discrete, or a transform inside it does not take the points before it.
    """
    if isinstance(distribution, Independent):
        return known_support(distribution.base_dist)
    if isinstance(distribution, MixtureSameFamily):
        support = known_support(distribution.component_distribution)
        ends = None if support is None else bounds(support)
        return support if ends is None else constraints.interval(ends[0].min(), ends[1].max())
    if hasattr(distribution, "known_support"):  # a flow's
        return distribution.known_support()
    torchs = type(distribution).support is TransformedDistribution.support  # the codomain of the last transform
    if isinstance(distribution, TransformedDistribution) and torchs:
        parts = [from_transform(transform) for transform in distribution.transforms if transform.bijective]
        known = known_support(distribution.base_dist) if len(parts) == len(distribution.transforms) else None
        return push_support(known, [stage for part in parts for stage in stages(part)], "TransformedDistribution")
    support = distribution.support
    if support is not None and innermost(support).is_discrete:
        raise ValueError(
            f"Flow: {type(distribution).__name__} is discrete, and a flow has a density; give it a continuous base, "
            "such as StandardNormal(dim)"
        )
    return support


class StandardNormal(Base):
    """The standard normal in `dim` dimensions: density exp(-|x|^2 / 2) / (2 pi)^(dim / 2)."""

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"StandardNormal: dim={dim!r} must be at least 1")
        super().__init__(Independent(Normal(torch.zeros(dim), torch.ones(dim), validate_args=False), 1))
        self.dim = dim

    def log_prob(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != self.event_shape:
            check_event_shape("StandardNormal", x.shape, self.event_shape)
        return -0.5 * (x.square().sum(-1) + self.dim * LOG_TWO_PI)

    def rsample(
        self, shape: Shape = (), generator: Generator | None = None, batch_shape: torch.Size | None = None
    ) -> Tensor:
        whole, like = (*as_shape(shape), *(batch_shape or ()), self.dim), self.anchor
        return torch.randn(whole, generator=generator, dtype=like.dtype, device=like.device)

    sample = rsample

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GumbelDifferences(Distribution):
    r"""s_k = g_k - g_K, k < K, for independent Gumbel variables g_k with locations `logits` and scale 1.

    log p(s) = log (K - 1)! + sum_k t_k - K log sum_k exp(t_k) in nats, t_k = logits_k - s_k with s_K = 0: the integral
    over g_K is a Gamma integral. The softmax of the differences is the base of the Concrete distribution.

    Arguments:
        logits: locations of shape (*, K), K >= 2; s has shape (*, K - 1).

    Raises:
        ValueError: fewer than 2 locations.

    Reference:
        | The Concrete Distribution: A Continuous Relaxation of Discrete Random Variables
        | (Chris J. Maddison, Andriy Mnih, Yee Whye Teh, 2017)
        | https://arxiv.org/abs/1611.00712

    Example:
        >>> import torch
        >>> from flowlab.distributions.base import GumbelDifferences
        >>> GumbelDifferences(torch.zeros(2)).log_prob(torch.zeros(1)).exp()  # a logistic density at 0
        tensor(0.2500)
    """

    arg_constraints: dict[str, Constraint] = {"logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        if logits.ndim == 0 or logits.shape[-1] < 2:
            raise ValueError(f"GumbelDifferences: logits of shape {tuple(logits.shape)}; it must be (*, K) with K >= 2")
        self.logits = logits
        super().__init__(logits.shape[:-1], torch.Size([logits.shape[-1] - 1]), validate_args)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        exponential = self.logits.new_empty((*sample_shape, *self.logits.shape)).exponential_()
        gumbel = self.logits - exponential.log()
        return gumbel[..., :-1] - gumbel[..., -1:]

    def log_prob(self, value: Tensor) -> Tensor:
        classes = self.logits.shape[-1]
        t = self.logits - pad(value, (0, 1))
        return math.lgamma(classes) + t.sum(-1) - classes * t.logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        return self.logits[..., :-1] - self.logits[..., -1:]
