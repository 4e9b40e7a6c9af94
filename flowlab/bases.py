"""Base distributions as modules: what a flow starts from."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from flowlab.supports import is_unbounded, replace_outside
from flowlab.torch_objects import rebuild, tensors_of

LOG_TWO_PI = math.log(2 * math.pi)


class Base(nn.Module):
    """A `torch.distributions` distribution as a module: its tensors are buffers, which move and save with it.

    Samples can be drawn from a generator of their own, which torch's distributions do not offer.
    """

    _anchor: Tensor  # empty: where the module is and in which dtype

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        self._template = distribution
        self.event_shape = distribution.event_shape
        self.batch_shape = distribution.batch_shape
        self.register_buffer("_anchor", torch.empty(0), persistent=False)
        for name, tensor in tensors_of(distribution).items():
            self.register_buffer(name, tensor.detach())

    def distribution(self) -> Distribution:
        """The torch distribution, reading this module's buffers."""
        return rebuild(self._template, dict(self.named_buffers()))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density in nats, -inf outside the support; of shape sample + batch."""
        distribution = self.distribution()
        support = distribution.support
        assert support is not None
        if is_unbounded(support):
            return distribution.log_prob(x)
        inside = support.check(x)
        safe = replace_outside(x, inside, support)
        return torch.where(inside, distribution.log_prob(safe), -torch.inf)

    def rsample(self, shape: torch.Size | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Reparameterised samples of shape sample + batch + event; from torch's global stream without a generator."""
        return self._draw(self.distribution().rsample, shape, generator)

    def sample(self, shape: torch.Size | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Samples of shape sample + batch + event, for distributions too that are not reparameterised."""
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
