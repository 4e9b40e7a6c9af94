"""The circular spline: its period, the seam, and a density of angles."""

import math

import pytest
import torch
from torch.distributions import Independent, VonMises

from flowlab import Flow
from flowlab.bijectors import Coupling
from flowlab.bijectors.maps import CircularSpline


def draw_parameters(map, count=200):
    return 2 * torch.randn(count, map.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bound", [math.pi, 0.5])
def test_a_turn_of_x_is_a_turn_of_y(bound):
    map = CircularSpline(bins=5, bound=bound)
    parameters = draw_parameters(map)
    x = bound * torch.linspace(-0.99, 0.99, 200, dtype=torch.float64)
    for method in (map.forward_and_log_det, map.inverse_and_log_det):
        y, log_det = method(x, parameters)
        for turns in (-3, 1):
            turned, log_det_turned = method(x + turns * 2 * bound, parameters)
            torch.testing.assert_close(turned, y + turns * 2 * bound, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(log_det_turned, log_det, rtol=1e-6, atol=1e-6)


def test_value_and_slope_are_continuous_at_the_seam():
    map = CircularSpline(bins=4)
    parameters = draw_parameters(map)
    for seam in (-math.pi, math.pi, 3 * math.pi):
        sides = [
            map.forward_and_log_det(torch.full((200,), seam + step, dtype=torch.float64), parameters)
            for step in (-1e-11, 1e-11)
        ]
        torch.testing.assert_close(*sides, rtol=1e-5, atol=1e-5)


def test_the_phase_turns_every_angle():
    map = CircularSpline(bins=4)
    parameters = torch.zeros(map.size)
    parameters[0] = 1.25
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(map.forward_and_log_det(x, parameters)[0], x + 1.25)


def test_a_density_of_angles_has_the_period_and_integrates_to_1():
    class OfAngles(torch.nn.Module):
        """A conditioner that sees an angle by its cosine and sine."""

        def __init__(self, outputs):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(2, outputs, generator=torch.Generator().manual_seed(0)))

        def forward(self, x, context=None):
            return torch.cat([x.cos(), x.sin()], -1) @ self.weight

    map = CircularSpline(bins=4)
    coupling = Coupling([False, True], OfAngles(map.size), map=map)
    flow = Flow(Independent(VonMises(torch.zeros(2), torch.ones(2)), 1), coupling).double()
    side = torch.arange(200, dtype=torch.float64) * (2 * math.pi / 200)
    points = torch.cartesian_prod(side, side)
    density = flow.log_prob(points).exp()
    assert abs(density.mean().item() * (2 * math.pi) ** 2 - 1) < 1e-3
    torch.testing.assert_close(flow.log_prob(points + 2 * math.pi).exp(), density, rtol=1e-6, atol=1e-8)
