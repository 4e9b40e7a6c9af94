"""Base distributions as modules: what a flow starts from."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.distributions.constraints import Constraint
from torch.nn.functional import pad

from flowlab.autocast import full_precision
from flowlab.bijectors.torch_tensors import rebuild, tensors_of
from flowlab.constraints import is_unbounded, replace_outside

LOG_TWO_PI = math.log(2 * math.pi)


class Base(nn.Module):
    """A `torch.distributions` distribution as a module: its tensors are buffers, which move and save with it.

    A distribution that holds an `nn.Parameter` itself, as GumbelDifferences does, is learned. Those of torch hold
    expanded copies of what they are given, which are constants here.

    Samples can be drawn from a generator of their own, which torch's distributions do not offer.
    """

    _anchor: Tensor  # empty: where the module is and in which dtype

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        # A copy, since torch's distributions remember in themselves what they are asked for later.
        self._template = rebuild(distribution, tensors_of(distribution))
        self.event_shape = distribution.event_shape
        self.batch_shape = distribution.batch_shape
        self.register_buffer("_anchor", torch.empty(0), persistent=False)
        for name, tensor in tensors_of(distribution).items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor.detach())

    def distribution(self) -> Distribution:
        """The torch distribution, reading this module's buffers and parameters."""
        return rebuild(self._template, dict([*self.named_buffers(), *self.named_parameters()]))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats, -inf outside the support; of shape sample + batch."""
        distribution = self.distribution()
        support = distribution.support
        assert support is not None
        if not x.numel():  # of no points not all of torch's distributions can tell the shape
            points = x.shape[: x.ndim - len(self.event_shape)]
            return x.new_zeros(torch.broadcast_shapes(points, self.batch_shape))
        with full_precision(x):
            if is_unbounded(support):
                return distribution.log_prob(x)
            inside = support.check(x)
            safe = replace_outside(x, inside, support)
            return torch.where(inside, distribution.log_prob(safe), -torch.inf)

    def rsample(self, shape: torch.Size | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Reparameterised samples of shape sample + batch + event; from torch's global stream without a generator."""
        with full_precision(self._anchor):
            return self._draw(self.distribution().rsample, shape, generator)

    def sample(self, shape: torch.Size | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Samples of shape sample + batch + event, for distributions too that are not reparameterised."""
        with full_precision(self._anchor):
            return self._draw(self.distribution().sample, shape, generator)

    @staticmethod
    def _draw(
        draw: Callable[[torch.Size], Tensor], shape: torch.Size | tuple[int, ...], generator: torch.Generator | None
    ) -> Tensor:
        if generator is None:
            return draw(torch.Size(shape))
        # torch's distributions draw from the global stream alone: set it for this draw, and put it back.
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        devices = [generator.device] if generator.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            return draw(torch.Size(shape))

    def extra_repr(self) -> str:
        return str(self._template)


class StandardNormal(Base):
    """The standard normal in `dim` dimensions: density exp(-|x|^2 / 2) / (2 pi)^(dim / 2)."""

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(f"StandardNormal: dim={dim!r} must be at least 1")
        super().__init__(Independent(Normal(torch.zeros(dim), torch.ones(dim), validate_args=False), 1))
        self.dim = dim

    def log_prob(self, x: Tensor) -> Tensor:
        return -0.5 * (x.square().sum(-1) + self.dim * LOG_TWO_PI)

    def rsample(self, shape: torch.Size | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        anchor = self._anchor
        return torch.randn((*shape, self.dim), generator=generator, dtype=anchor.dtype, device=anchor.device)

    sample = rsample

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GumbelDifferences(Distribution):
    r"""s_k = g_k - g_K, k < K, of independent Gumbel variables g_k with locations `logits` and scale 1.

    log p(s) = log (K - 1)! + sum_k t_k - K log sum_k exp(t_k) in nats, t_k = logits_k - s_k with s_K = 0: the integral
    over g_K, which all K densities share, is a Gamma integral. Their softmax is the base of the Concrete distribution.

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
        >>> GumbelDifferences(torch.zeros(2)).log_prob(torch.zeros(1)).exp()  # that of a logistic variable at 0
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
