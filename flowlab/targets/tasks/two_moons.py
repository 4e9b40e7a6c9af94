"""The task two_moons: a crescent that two regions of the parameters explain equally well."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowlab.config.registry import register
from flowlab.targets.draws import rand, randn, stack
from flowlab.targets.tasks.base import BoxTask, draw_inside

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@register("task", "two_moons")
@dataclass
class TwoMoons(BoxTask):
    r"""theta uniform on [-1, 1]^2; x = (r cos a + 1/4 - |t1 + t2| / sqrt 2, r sin a + (t2 - t1) / sqrt 2).

    The angle a is uniform on [-pi/2, pi/2], and r ~ N(0.1, 0.01) by standard deviation. The sign of t1 + t2 is lost,
    so the posterior has two crescents.

    Reference:
        | Automatic Posterior Transformation for Likelihood-Free Inference (David S. Greenberg, Marcel Nonnenmacher,
        | Jakob H. Macke, 2019)
        | https://arxiv.org/abs/1905.07488
        | Benchmarking Simulation-Based Inference (Jan-Matthis Lueckmann et al., 2021), appendix T.8
        | https://arxiv.org/abs/2101.04653
    """

    dim = data_dim = 2
    bound = 1.0

    def simulate(self, theta: Tensor, generator: torch.Generator) -> Tensor:
        along, across = self._rotate(theta)
        return self._crescent(len(theta), generator, theta.dtype) + stack(-along.abs(), across)

    def sample_posterior(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        import torch

        def draw(number: int) -> Tensor:
            """Solve x = crescent + (-|along|, across) for the parameters; no solution gives NaN, outside the prior."""
            along, minus_across = (self._crescent(number, generator, x.dtype) - x).unbind(-1)
            sign = torch.where(rand((number,), generator, x.dtype) < 0.5, -1.0, 1.0)
            along = (sign * along).where(along >= 0, torch.nan)
            return stack(along + minus_across, along - minus_across) / math.sqrt(2)

        return draw_inside(draw, self.support, count)[0]

    def _crescent(self, count: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        angle = math.pi * (rand((count,), generator, dtype) - 0.5)
        radius = 0.1 + 0.01 * randn((count,), generator, dtype)
        return stack(radius * angle.cos() + 0.25, radius * angle.sin())

    @staticmethod
    def _rotate(theta: Tensor) -> tuple[Tensor, Tensor]:
        """(t1 + t2) / sqrt 2 and (t2 - t1) / sqrt 2."""
        first, second = theta.unbind(-1)
        return (first + second) / math.sqrt(2), (second - first) / math.sqrt(2)
