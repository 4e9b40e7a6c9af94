"""The monotone map: its slopes, its smoothness, and its numerical inverse."""

import math

import pytest
import torch

from flowlab.bijectors.maps import Monotone


def draw_parameters(map, count, scale=3.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return (scale * torch.randn(count, map.size, dtype=torch.float64, generator=generator)).to(dtype)


def test_slopes_stay_within_the_limit_and_far_outside_they_are_the_first_and_the_last():
    map = Monotone(bins=6, bound=2.0, limit=1.5)
    parameters = draw_parameters(map, 3000)
    x = torch.linspace(-6, 6, 3000, dtype=torch.float64)
    log_slope = map.forward_and_log_det(x, parameters)[1]
    assert log_slope.abs().max() <= 1.5 + 1e-9
    raw = parameters[:, 7 + 1 :]
    for x, place in ((-1e3, 0), (1e3, -1)):
        log_slope = map.forward_and_log_det(torch.full((3000,), x, dtype=torch.float64), parameters)[1]
        torch.testing.assert_close(log_slope, 1.5 * (raw[:, place] / 1.5).tanh())


def test_the_slope_is_the_documented_average():
    map = Monotone(bins=2, bound=3.0)
    parameters = torch.zeros(map.size, dtype=torch.float64)
    parameters[-3:] = torch.tensor([0.5, -0.25, 1.0])
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)
    m = (2 * (parameters[-3:] / 2).tanh()).exp()
    rises = [((x - c) / 1.0).sigmoid() for c in (-1.0, 1.0)]  # gaps of 2, half of which is the width
    expected = m[0] * (1 - rises[0]) + m[1] * (rises[0] - rises[1]) + m[2] * rises[1]
    y, log_slope = map.forward_and_log_det(x, parameters)
    torch.testing.assert_close(log_slope.exp(), expected)
    assert abs(y[5]) < 1e-12  # without a shift 0 stays


@pytest.mark.parametrize("limit", [0.5, 2.0, 4.0])
def test_the_inverse_is_exact_to_rounding(limit, dtype):
    map = Monotone(limit=limit)
    parameters = draw_parameters(map, 5000, dtype=dtype)
    y = 40 * torch.rand(5000, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype) - 20
    again = map.forward_and_log_det(map.inverse_and_log_det(y, parameters)[0], parameters)[0]
    unit = torch.finfo(dtype).eps * math.exp(limit)
    assert ((again - y).abs() / (1 + y.abs() * math.exp(limit))).max() < 20 * unit


def test_it_is_smooth_where_a_spline_has_knots():
    """The third derivative of the log det is continuous: finite differences of a fine grid have no jump."""
    map = Monotone(bins=3, bound=1.0)
    parameters = draw_parameters(map, 1, scale=1.0)[0]
    x = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    third = map.forward_and_log_det(x, parameters)[1].diff(n=3) / (x[1] - x[0]) ** 3
    assert third.diff().abs().max() < 0.02 * third.abs().max()
