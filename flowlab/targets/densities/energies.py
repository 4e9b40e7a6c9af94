r"""The energies U1 to U4 of Rezende and Mohamed, as normalized densities p(z) = exp(-U(z)) / Z that can be sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flowlab.config.registry import register
from flowlab.targets.base import LOG_TWO_PI, ExactTarget
from flowlab.targets.draws import rand, randn, stack

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions.constraints import Constraint

EDGE = 4.0  # U2 to U4 have z1 between -EDGE and EDGE
MARGIN = 2.0**-22  # of the width: a point that is rounded to float32 stays inside


@dataclass
class Energy(ExactTarget):
    """A density given by an energy U in two dimensions, p(z) = exp(-U(z)) / Z.

    A subclass defines `energy`, `log_normalizer` and the sampler.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
    """

    bounds = ((-4.5, 4.5), (-4.5, 4.5))

    def energy(self, z: Tensor) -> Tensor:
        """U at points of shape (*, 2), in nats; of shape (*)."""
        raise NotImplementedError(f"{type(self).__name__} must define energy(z)")

    def unnormalized_log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return -self.energy(x)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.unnormalized_log_prob(x) - self.log_normalizer  # type: ignore[operator]


@register("target", "u1")
@dataclass
class U1(Energy):
    r"""Two arcs of a ring, facing each other: U1(z) = ((|z| - 2) / 0.4)^2 / 2 - log(g(z1 - 2) + g(z1 + 2)).

    Here g(t) = exp(-(t / 0.6)^2 / 2). log Z = 1.8775016 and the entropy 2.6600125 nats come from quadrature in polar
    coordinates. Points are exact samples by rejection.

    Arguments:
        train_size: see ExactTarget.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770

    Example:
        >>> from flowlab.targets import U1
        >>> round(U1().log_normalizer, 7), round(U1().entropy, 7)
        (1.8775016, 2.6600125)
    """

    def energy(self, z: Tensor) -> Tensor:
        import torch

        first = z[..., 0]
        ring = ((z.norm(dim=-1) - 2) / 0.4).square() / 2
        return ring - torch.logaddexp(-((first - 2) / 0.6).square() / 2, -((first + 2) / 0.6).square() / 2)

    @cached_property
    def _polar(self) -> tuple[Tensor, Tensor]:
        """The points of a rule in polar coordinates, and their weights with the Jacobian r."""
        from flowlab.targets.densities._quadrature import gauss_legendre, product, trapezoid

        points, weights = product(gauss_legendre(0.0, 8.0, 300), trapezoid(0.0, 2 * math.pi, 400))
        radius, angle = points.unbind(-1)
        return stack(radius * angle.cos(), radius * angle.sin()), weights * radius

    @cached_property
    def log_normalizer(self) -> float:  # type: ignore[override]
        from flowlab.targets.densities._quadrature import log_integral

        points, weights = self._polar
        return log_integral(-self.energy(points), weights)

    @cached_property
    def entropy(self) -> float:  # type: ignore[override]
        from flowlab.targets.densities._quadrature import entropy

        return entropy(self.log_prob, *self._polar)

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        """Points by rejection, so `from_draws` has nothing left to do.

        The density is a mixture of two arcs that mirror each other, so one arc and a random sign give all of it. With
        the angle uniform, the radius of an arc has the density r exp(-((r - 2) / 0.4)^2 / 2). Against a proposal
        N(2.08, 0.4) it is r exp(-r / 2) up to a factor, which is largest at r = 2.
        """
        import torch

        kept: list[Tensor] = []
        while sum(map(len, kept)) < count:
            drawn = rand((8 * count, 4), generator, dtype)
            radius = 2.08 + 0.4 * randn((8 * count,), generator, dtype)
            angle = 2 * math.pi * drawn[:, 0]
            first, second = radius * angle.cos(), radius * angle.sin()
            log_share = (radius / 2).log() + 1 - radius / 2 - ((first - 2) / 0.6).square() / 2
            accepted = drawn[:, 1].log() < log_share  # NaN, at a radius below 0, is refused
            sign = torch.where(drawn[:, 2] < 0.5, -1.0, 1.0).to(first)
            kept.append(stack(sign * first, second)[accepted])
        return torch.cat(kept)[:count]

    def from_draws(self, drawn: Tensor) -> Tensor:
        return drawn


@dataclass
class Band(Energy):
    """z1 uniform on [-4, 4], and z2 given z1 a normal around w1(z1) = sin(pi z1 / 2), or a mixture of two.

    On the whole plane the energy has no finite integral, so z1 is bounded. The second normal, if there is one, lies
    `gap` below or above the first. A flow ends with a fixed sigmoid of z1, so all of its mass lies inside.

    Attributes:
        scales: the standard deviations of the normals. Their weights are proportional to them.
    """

    scales = (0.4,)  # type: tuple[float, ...]  # an annotation would make it a field
    flow_ends_in_support = True

    def gap(self, first: Tensor) -> Tensor:
        """How far the second normal lies from the first, of the shape of z1."""
        raise NotImplementedError(f"{type(self).__name__} must define gap(first)")

    @property
    def support(self) -> Constraint:
        from flowlab.targets.densities.support import Support

        return Support((f"bounded:{-EDGE}:{EDGE}", "real")).constraint

    def energy(self, z: Tensor) -> Tensor:
        import torch

        first, second = z.unbind(-1)
        shift = second - (math.pi / 2 * first).sin()
        squares = [(shift / self.scales[0]).square()]
        if len(self.scales) > 1:
            squares.append(((shift - self.gap(first)) / self.scales[1]).square())
        value = squares[0] / 2 if len(squares) == 1 else -torch.logaddexp(-squares[0] / 2, -squares[1] / 2)
        return value.masked_fill(first.abs() > EDGE, math.inf)

    @property
    def log_normalizer(self) -> float:  # type: ignore[override]
        """log Z = log(8 sqrt(2 pi) (s1 + s2)), closed form."""
        return math.log(2 * EDGE * sum(self.scales)) + LOG_TWO_PI / 2

    @cached_property
    def entropy(self) -> float:  # type: ignore[override]
        """By quadrature: over z1 in 16 parts, and over z2 on a grid that no normal leaves."""
        import torch

        from flowlab.targets.densities._quadrature import entropy, gauss_legendre, product, trapezoid

        parts = [gauss_legendre(-EDGE + part / 2, -EDGE + (part + 1) / 2, 40) for part in range(16)]
        rule = torch.cat([node for node, _ in parts]), torch.cat([weight for _, weight in parts])
        return entropy(self.log_prob, *product(rule, trapezoid(-10.0, 10.0, 600)))

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        import torch

        return torch.cat([rand((count, 2), generator, dtype), randn((count, 1), generator, dtype)], dim=-1)

    def from_draws(self, drawn: Tensor) -> Tensor:
        import torch

        place, choice, normal = drawn.unbind(-1)
        first = EDGE * (2 * place.clamp(MARGIN, 1 - MARGIN) - 1)
        centre, scales = (math.pi / 2 * first).sin(), self.scales
        second = centre + scales[0] * normal
        if len(scales) > 1:
            other = centre + self.gap(first) + scales[1] * normal
            second = torch.where(choice < scales[0] / sum(scales), second, other)
        return stack(first, second)


@register("target", "u2")
@dataclass
class U2(Band):
    r"""A sine wave: U2(z) = ((z2 - w1(z1)) / 0.4)^2 / 2 with w1 = sin(pi z1 / 2), and z1 uniform on [-4, 4].

    log Z = log(8 * 0.4 sqrt(2 pi)) and entropy log(8 * 0.4 sqrt(2 pi e)) nats, closed form.

    Arguments:
        train_size: see ExactTarget.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770

    Example:
        >>> from flowlab.targets import U2
        >>> round(U2().log_normalizer, 7), round(U2().entropy, 7)
        (2.0820893, 2.5820893)
    """

    entropy = math.log(2 * EDGE * 0.4) + (LOG_TWO_PI + 1) / 2


@register("target", "u3")
@dataclass
class U3(Band):
    r"""A sine wave that splits in two: a mixture of N(w1, 0.35) and N(w1 - w2, 0.35) given z1 uniform on [-4, 4].

    w1 = sin(pi z1 / 2) and w2 = 3 exp(-((z1 - 1) / 0.6)^2 / 2); both normals by standard deviation, with equal weights.
    log Z = log(8 * 0.7 sqrt(2 pi)) nats, closed form; the entropy, 2.6267066 nats, comes from quadrature.

    Arguments:
        train_size: see ExactTarget.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770

    Example:
        >>> from flowlab.targets import U3
        >>> round(U3().log_normalizer, 7), round(U3().entropy, 7)
        (2.6417051, 2.6267066)
    """

    scales = (0.35, 0.35)

    def gap(self, first: Tensor) -> Tensor:
        return -3 * (-((first - 1) / 0.6).square() / 2).exp()


@register("target", "u4")
@dataclass
class U4(Band):
    r"""A sine wave that splits for good: a mixture of N(w1, 0.4) and N(w1 - w3, 0.35) given z1 uniform on [-4, 4].

    w1 = sin(pi z1 / 2) and w3 = 3 sigmoid((z1 - 1) / 0.3); both normals by standard deviation, with weights
    proportional to it. log Z is log(8 * 0.75 sqrt(2 pi)) nats, in closed form. The entropy, 2.8100730 nats, comes from
    quadrature.

    Arguments:
        train_size: see ExactTarget.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770

    Example:
        >>> from flowlab.targets import U4
        >>> round(U4().log_normalizer, 7), round(U4().entropy, 7)
        (2.710698, 2.810073)
    """

    scales = (0.4, 0.35)
    bounds = ((-4.5, 4.5), (-5.5, 3.5))

    def gap(self, first: Tensor) -> Tensor:
        return -3 * ((first - 1) / 0.3).sigmoid()
