"""Tasks with Gaussian noise around the parameters: gaussian_linear, gaussian_linear_uniform, gaussian_mixture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.registry import register
from flowlab.targets.draws import randn
from flowlab.targets.tasks.base import BoxTask, Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@register("task", "gaussian_linear")
@dataclass
class GaussianLinear(Task):
    """theta ~ N(0, 0.1 I) and x | theta ~ N(theta, 0.1 I) in 10 dimensions, by variance.

    The posterior in closed form: theta | x ~ N(x / 2, 0.05 I).

    Reference:
        | Benchmarking Simulation-Based Inference (Jan-Matthis Lueckmann, Jan Boelts, David S. Greenberg, Pedro J.
        | Goncalves, Jakob H. Macke, 2021), appendix T.1
        | https://arxiv.org/abs/2101.04653
    """

    dim = data_dim = 10
    bounds = ((-1.1, 1.1),) * 10
    deviation = 0.1**0.5

    def draw_prior(self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        return self.deviation * randn((count, self.dim), generator, dtype)

    def simulate(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        return theta + self.deviation * randn(tuple(theta.shape), generator, theta.dtype)

    def sample_posterior(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        return x / 2 + self.deviation * 0.5**0.5 * randn((count, self.dim), generator, x.dtype)


@register("task", "gaussian_linear_uniform")
@dataclass
class GaussianLinearUniform(BoxTask):
    """theta uniform on [-1, 1]^10 and x | theta ~ N(theta, 0.1 I), by variance.

    The posterior in closed form: independent N(x, 0.1), truncated to [-1, 1].

    Reference: see GaussianLinear; appendix T.2.
    """

    dim = data_dim = 10
    bound = 1.0
    deviation = 0.1**0.5

    def simulate(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        return theta + self.deviation * randn(tuple(theta.shape), generator, theta.dtype)

    def sample_posterior(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        return _draw_truncated(x.expand(count, -1), self.deviation, self.bound, generator)


@register("task", "gaussian_mixture")
@dataclass
class GaussianMixture(BoxTask):
    """theta uniform on [-10, 10]^2 and x | theta ~ N(theta, I) / 2 + N(theta, 0.01 I) / 2, by variance.

    The posterior in closed form: a wide and a narrow Gaussian around x, truncated to the box.

    Reference: see GaussianLinear; appendix T.7. In sbibm 1.0, which gave the published numbers, all simulations of one
    call came from the same Gaussian; version 1.1 corrected this.
    """

    dim = data_dim = 2
    bound = 10.0
    deviations = (1.0, 0.1)

    def simulate(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        import torch

        wide = torch.rand(len(theta), 1, generator=generator, device=generator.device) < 0.5
        deviation = theta.new_tensor(self.deviations[0]).where(wide, theta.new_tensor(self.deviations[1]))
        return theta + deviation * randn(tuple(theta.shape), generator, theta.dtype)

    def sample_posterior(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        import torch

        centres = x.expand(count, -1)
        wide, narrow = (_draw_truncated(centres, scale, self.bound, generator) for scale in self.deviations)
        # A Gaussian weighs as much as it has mass inside the box.
        masses = [_mass_below(x, scale, self.bound)[1].prod() for scale in self.deviations]
        share = masses[0] / (masses[0] + masses[1])
        return wide.where(torch.rand(count, 1, generator=generator, device=generator.device) < share, narrow)


def _mass_below(centre: Tensor, scale: float, bound: float) -> tuple[Tensor, Tensor]:
    """The mass of N(centre, scale) below -bound, and between -bound and bound."""
    import torch

    below = torch.special.ndtr((-bound - centre) / scale)
    return below, torch.special.ndtr((bound - centre) / scale) - below


def _draw_truncated(centre: Tensor, scale: float, bound: float, generator: torch.Generator) -> Tensor:
    """Samples of N(centre, scale), by standard deviation, truncated to [-bound, bound], by the inverse CDF."""
    import torch

    below, inside = (mass.double() for mass in _mass_below(centre.double(), scale, bound))
    unit = torch.rand(centre.shape, generator=generator, device=generator.device, dtype=torch.float64)
    return (centre + scale * torch.special.ndtri(below + unit * inside)).clamp(-bound, bound).to(centre)
