"""Probabilities and quantiles of scalar distributions, each computed from the nearer tail."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Cauchy,
    Chi2,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
    Uniform,
)

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.compose import stages
from flowlab.bijectors.elementwise import NormalCDF
from flowlab.bijectors.torch_adapters import from_transform
from flowlab.torch_distributions import clamp_to

Map = Callable[[Tensor], Tensor]


class Tails:
    """P(X <= x), or P(X > x) where `upper`, its log in nats, and its quantiles, by torch's cdf and icdf."""

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution

    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        below = self.distribution.cdf(clamp_to(x, self.distribution.support))
        return 1 - below if upper else below

    def log_cdf(self, x: Tensor, upper: bool) -> Tensor:
        this, other = self.cdf(x, upper), self.cdf(x, not upper)
        return torch.where(this < other, this.log(), (-other).log1p())

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        return self.distribution.icdf(1 - probability if upper else probability)


class SymmetricTails(Tails):
    """A distribution that is symmetric about its location, whose upper tail is its lower tail turned around."""

    def __init__(self, distribution: Any) -> None:
        super().__init__(distribution)
        self.lower, self.quantile = SYMMETRIC[type(distribution)]

    def _standard(self, x: Tensor, upper: bool) -> Tensor:
        z = (x - self.distribution.loc) / self.distribution.scale
        return -z if upper else z

    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        return self.lower(self._standard(x, upper))

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        z = self.quantile(probability)
        return self.distribution.loc + self.distribution.scale * (-z if upper else z)


class NormalTails(SymmetricTails):
    def log_cdf(self, x: Tensor, upper: bool) -> Tensor:
        return torch.special.log_ndtr(self._standard(x, upper))  # also where the probability underflows


def _laplace_cdf(z: Tensor) -> Tensor:
    half = 0.5 * (-z.abs()).exp()
    return torch.where(z < 0, half, 1 - half)


def _laplace_quantile(probability: Tensor) -> Tensor:
    return (2 * torch.minimum(probability, 1 - probability)).log() * (0.5 - probability).sign()


def _cauchy_quantile(probability: Tensor) -> Tensor:
    """tan(pi (p - 1/2)), by the nearest of 0, 1/2 and 1, from which a difference is exact."""
    above = 1 - probability
    outside = 1 / (math.pi * torch.minimum(probability, above)).tan() * (probability - above).sign()
    return torch.where((probability - 0.5).abs() < 0.25, (math.pi * (probability - 0.5)).tan(), outside)


SYMMETRIC: dict[type, tuple[Map, Map]] = {
    Normal: (NormalCDF().unchecked_forward, torch.special.ndtri),
    Laplace: (_laplace_cdf, _laplace_quantile),
    Cauchy: (lambda z: torch.atan2(torch.ones_like(z), -z) / math.pi, _cauchy_quantile),
}


class HalfNormalTails(Tails):
    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        z = (x / self.distribution.scale).clamp(min=0)
        return 2 * SYMMETRIC[Normal][0](-z) if upper else (z / math.sqrt(2)).erf()

    def log_cdf(self, x: Tensor, upper: bool) -> Tensor:
        z, near = (x / self.distribution.scale).clamp(min=0), super().log_cdf(x, upper)
        if not upper:
            return near
        return torch.where(z < 1, near, math.log(2) + torch.special.log_ndtr(-z))  # also where it underflows

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        z = -torch.special.ndtri(probability / 2) if upper else math.sqrt(2) * probability.erfinv()
        return self.distribution.scale * z


class HalfCauchyTails(Tails):
    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        z, one = (x / self.distribution.scale).clamp(min=0), x.new_ones(())
        return 2 / math.pi * (torch.atan2(one, z) if upper else z.atan())

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        z = (math.pi / 2 * torch.minimum(probability, 1 - probability)).tan()
        return self.distribution.scale * torch.where((probability > 0.5) ^ upper, 1 / z, z)


class ExponentialTails(Tails):
    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        z = (self.distribution.rate * x).clamp(min=0)
        return (-z).exp() if upper else -(-z).expm1()

    def log_cdf(self, x: Tensor, upper: bool) -> Tensor:
        z = (self.distribution.rate * x).clamp(min=0)
        return -z if upper else torch.where(z < 1, (-(-z).expm1()).log(), (-(-z).exp()).log1p())

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        return -(probability.log() if upper else (-probability).log1p()) / self.distribution.rate


class UniformTails(Tails):
    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        low, high = self.distribution.low, self.distribution.high
        return ((high - x if upper else x - low) / (high - low)).clamp(0, 1)

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        low, high = self.distribution.low, self.distribution.high
        return high - probability * (high - low) if upper else low + probability * (high - low)


class GammaTails(Tails):
    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        z = (self.distribution.rate * x).clamp(min=0)
        return (torch.special.gammaincc if upper else torch.special.gammainc)(self.distribution.concentration, z)


class GumbelTails(Tails):
    """torch's own are cut off, where its uniform variable is."""

    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        power = ((self.distribution.loc - x) / self.distribution.scale).exp()
        return -(-power).expm1() if upper else (-power).exp()

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        power = -((-probability).log1p() if upper else probability.log())
        return self.distribution.loc - self.distribution.scale * power.log()


class QuantileTails(Tails):
    """A uniform variable under the inverse of a distribution function, which is here in place of a distribution."""

    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        function, x = self.distribution, clamp_to(x, self.distribution.domain)
        return (function.complement if upper else function.forward)(x)

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        function = self.distribution
        return (function.inverse_complement if upper else function.inverse)(probability)


class MixtureTails(Tails):
    def log_cdf(self, x: Tensor, upper: bool) -> Tensor:
        weights = self.distribution.mixture_distribution.logits.log_softmax(-1)
        parts = tails_of(self.distribution.component_distribution).log_cdf(x[..., None], upper)
        nearer = (weights + parts).logsumexp(-1)  # also where the probability underflows
        return torch.where(nearer < -1, nearer, super().log_cdf(x, upper))

    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        parts = tails_of(self.distribution.component_distribution).cdf(x[..., None], upper)
        return (self.distribution.mixture_distribution.probs * parts).sum(-1)


class MappedTails(Tails):
    """A distribution under maps that are monotone together, of the given sign."""

    def __init__(self, base: Tails, parts: Sequence[Bijector], sign: Tensor, context: Tensor | None = None) -> None:
        self.base, self.parts, self.sign, self.context = base, parts, sign, context

    def cdf(self, x: Tensor, upper: bool) -> Tensor:
        return self._choose(self.base.cdf, self._pull_back(x), upper)

    def log_cdf(self, x: Tensor, upper: bool) -> Tensor:
        return self._choose(self.base.log_cdf, self._pull_back(x), upper)

    def icdf(self, probability: Tensor, upper: bool) -> Tensor:
        x = self._choose(self.base.icdf, probability, upper)
        for part in self.parts:
            x = part.forward(x, self.context)
        return x

    def _pull_back(self, x: Tensor) -> Tensor:
        limits = torch.finfo(x.dtype)
        for part in reversed(self.parts):
            x = part.inverse(clamp_to(x, part.codomain), self.context).clamp(limits.min, limits.max)
        return x

    def _choose(self, method: Callable[[Tensor, bool], Tensor], value: Tensor, upper: bool) -> Tensor:
        """The tail of the base that an increasing map keeps and a decreasing map swaps."""
        increasing = self.sign > 0
        if bool(increasing.all()) or not bool(increasing.any()):
            return method(value, upper == bool(increasing.all()))
        return torch.where(increasing, method(value, upper), method(value, not upper))


TAILS: dict[type, type[Tails]] = {
    Normal: NormalTails,
    Laplace: SymmetricTails,
    Cauchy: SymmetricTails,
    Exponential: ExponentialTails,
    Chi2: GammaTails,
    Gamma: GammaTails,
    Gumbel: GumbelTails,
    HalfCauchy: HalfCauchyTails,
    HalfNormal: HalfNormalTails,
    Uniform: UniformTails,
    MixtureSameFamily: MixtureTails,
}


def tails_of(distribution: Distribution) -> Tails:
    """The tails of a scalar distribution, or of the only coordinate of a vector."""
    if isinstance(distribution, Independent):
        return tails_of(distribution.base_dist)
    if hasattr(distribution, "tails"):  # a flow's
        return distribution.tails("cdf")
    if type(distribution) in TAILS:
        return TAILS[type(distribution)](distribution)
    if isinstance(distribution, TransformedDistribution) and all(each.bijective for each in distribution.transforms):
        parts = [stage for transform in distribution.transforms for stage in stages(from_transform(transform))]
        sign = math.prod((torch.as_tensor(part.sign) for part in parts), start=torch.tensor(1))
        if sign.all():
            return map_tails(distribution.base_dist, parts, sign)
    return Tails(distribution)


def map_tails(
    base: Distribution, parts: Sequence[Bijector], sign: Tensor, context: Tensor | None = None
) -> MappedTails:
    """The tails of a scalar distribution under maps that are monotone together, of the given sign."""
    inner = base.base_dist if isinstance(base, Independent) else base
    function = getattr(parts[0], "bijector", None) if parts else None
    standard = isinstance(inner, Uniform) and bool((inner.low == 0).all() & (inner.high == 1).all())
    if standard and hasattr(function, "complement"):
        return MappedTails(QuantileTails(function), parts[1:], sign, context)
    return MappedTails(tails_of(base), parts, sign, context)
