"""The spline at its knots, at the ends of its box and outside, and how much of a float32 point it loses."""

import math

import pytest
import torch

from flowlab.bijectors.maps import Spline


def draw_parameters(spline, count, scale=3.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return scale * torch.randn(count, spline.size, generator=generator, dtype=torch.float64).to(dtype)


def slope_of_log_det(spline, x, parameters):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(spline.forward_and_log_det(x, parameters)[1].sum(), x)[0]


@pytest.mark.parametrize("end", [-5.0, 5.0])
def test_the_log_det_and_its_derivative_are_continuous_at_an_end_of_the_box(end):
    spline = Spline(bins=6, bound=5.0)
    parameters = draw_parameters(spline, 300, scale=1.0)
    inside, outside = (
        torch.full((300,), end + side * math.copysign(1e-9, end), dtype=torch.float64) for side in (-1, 1)
    )
    for method in (spline.forward_and_log_det, spline.inverse_and_log_det):
        (y, log_det), (y_out, log_det_out) = method(inside, parameters), method(outside, parameters)
        torch.testing.assert_close(y, y_out, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(log_det, log_det_out, rtol=0, atol=1e-4)
    assert not slope_of_log_det(spline, outside, parameters).any()
    steepest = slope_of_log_det(spline, torch.full((300,), 0.9 * end, dtype=torch.float64), parameters).abs().max()
    assert slope_of_log_det(spline, inside, parameters).abs().max() < 1e-4 * steepest


def test_outside_of_the_box_it_is_a_straight_line():
    spline = Spline(bins=4, bound=2.0)
    parameters = draw_parameters(spline, 1)[0]
    x = torch.tensor([2.0, 3.0, 50.0, 1e6], dtype=torch.float64)
    for side in (-1, 1):
        y, log_det = spline.forward_and_log_det(side * x, parameters)
        torch.testing.assert_close(log_det, log_det[:1].expand(4))
        torch.testing.assert_close((y - y[0]) / (side * log_det[0].exp()), x - 2)


def test_the_log_det_is_continuous_at_the_knots_inside():
    spline = Spline(bins=5, bound=3.0)
    parameters = draw_parameters(spline, 100)
    knots = spline._knots(parameters)[0].numbers
    for place in range(1, 5):
        left, right = (spline.forward_and_log_det(knots[place] + step, parameters) for step in (-1e-11, 1e-11))
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [0.0, -torch.inf, torch.inf])
def test_at_a_knot_and_one_unit_of_rounding_beside_it_f_has_the_value_and_the_slope_of_the_knot(side):
    spline = Spline(bins=5, bound=3.0)
    parameters = draw_parameters(spline, 300)
    for x, y, slope in zip(*(knots.numbers for knots in spline._knots(parameters)), strict=True):
        at, image = (torch.nextafter(point, torch.full_like(point, side)) if side else point for point in (x, y))
        for point, value, derivative, method in (
            (at, y, slope, spline.forward_and_log_det),
            (image, x, 1 / slope, spline.inverse_and_log_det),
        ):
            point = point.clone().requires_grad_()
            found, log_det = method(point, parameters)
            torch.testing.assert_close(found.detach(), value, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(log_det.detach().exp(), derivative, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(torch.autograd.grad(found.sum(), point)[0], derivative, rtol=1e-9, atol=1e-9)


def test_the_middle_of_a_bin_has_the_documented_slope():
    spline = Spline(bins=4, bound=2.0)
    parameters = draw_parameters(spline, 50)
    x, y, slopes = (knots.numbers for knots in spline._knots(parameters))
    mean = y.diff(dim=0) / x.diff(dim=0)
    expected = 4 * mean**2 / (2 * mean + slopes[:-1] + slopes[1:])
    for place in range(4):
        log_det = spline.forward_and_log_det((x[place] + x[place + 1]) / 2, parameters)[1]
        torch.testing.assert_close(log_det.exp(), expected[place])


@pytest.mark.parametrize("bins", [2, 8, 32])
def test_a_float32_round_trip_loses_no_more_than_the_rounding_of_x(bins):
    spline = Spline(bins)
    parameters = draw_parameters(spline, 100_000, dtype=torch.float32)
    y = 10 * torch.rand(100_000, generator=torch.Generator().manual_seed(2)) - 5
    error = spline.forward_and_log_det(spline.inverse_and_log_det(y, parameters)[0], parameters)[0] - y
    exact = spline.inverse_and_log_det(y.double(), parameters.double())[0]
    of_rounding = spline.forward_and_log_det(exact.float().double(), parameters.double())[0] - y
    assert error.abs().max() < 1.5 * of_rounding.abs().max()
    assert error.abs().max() < 1e-5


def test_slopes_stay_within_the_stated_limits():
    spline = Spline(bins=5, bound=3.0)
    parameters = 100 * draw_parameters(spline, 20_000, scale=1.0).sign()  # every bound is reached
    x, y, slopes = (knots.numbers for knots in spline._knots(parameters))
    mean = y.diff(dim=0) / x.diff(dim=0)
    for found in (mean, slopes[1:-1]):
        assert found.min() >= 1 / 20 - 1e-9
        assert found.max() <= 20 + 1e-9
    assert slopes[1:-1].min() < 0.06
    everywhere = 6 * torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 3
    for points in (everywhere, (x[1] + x[2]) / 2, x[0], x[-1]):
        log_slope = spline.forward_and_log_det(points, parameters)[1]
        assert log_slope.exp().min() >= 1 / 8000
        assert log_slope.exp().max() <= 40


@pytest.mark.parametrize("scale", [30.0, 300.0])
def test_extreme_parameters_give_finite_values_and_gradients(scale, dtype):
    spline = Spline()
    parameters = draw_parameters(spline, 1000, scale, dtype).requires_grad_()
    x = torch.linspace(-8, 8, 1000, dtype=dtype).requires_grad_()
    for method in (spline.forward_and_log_det, spline.inverse_and_log_det):
        y, log_det = method(x, parameters)
        gradients = torch.autograd.grad(y.sum() + log_det.sum(), (x, parameters))
        assert all(value.isfinite().all() for value in (y, log_det, *gradients))
