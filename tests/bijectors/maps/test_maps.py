"""Every map: the identity at parameters 0, an exact inverse, and the derivative that its log det claims."""

import math

import pytest
import torch

from flowlab.bijectors import AffineScalar, Exp, Planar, PReLU, SmoothPReLU
from flowlab.bijectors.maps import Additive, Affine, CircularSpline, Elementwise, Monotone, Spline

MAPS = {
    "additive": Additive(),
    "affine": Affine(),
    "affine limit": Affine(limit=0.5),
    "spline": Spline(),
    "spline of 2 bins": Spline(bins=2, bound=1.5),
    "inverse spline": Spline(bins=5).inv,
    "circular": CircularSpline(bins=4),
    "monotone": Monotone(bins=4),
    "inverse monotone": Monotone(bins=1, bound=1.0, limit=1.0).inv,
    "elementwise": Elementwise(AffineScalar(torch.nn.Parameter(torch.tensor(0.0))) | SmoothPReLU(slope=1.0)),
}


@pytest.fixture(params=MAPS, name="map")
def build_map(request):
    return MAPS[request.param]


def draw(map, *shape, dtype=torch.float64, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    x = 4 * torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return x, scale * torch.randn(*shape, map.size, generator=generator, dtype=torch.float64).to(dtype)


def test_parameters_0_give_the_identity(map, dtype):
    x, parameters = draw(map, 200, 3, dtype=dtype, scale=0.0)
    for method in (map.forward_and_log_det, map.inverse_and_log_det):
        y, log_det = method(x, parameters)
        rounded = dtype == torch.float32 or map is MAPS["elementwise"]  # its constants are float32
        tolerance = 4e-6 if rounded else 1e-14
        torch.testing.assert_close(y, x, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(log_det, torch.zeros_like(x), rtol=0, atol=tolerance)


def test_the_inverse_recovers_x_and_the_log_dets_cancel(map):
    x, parameters = draw(map, 2000)
    y, log_det = map.forward_and_log_det(x, parameters)
    again, back = map.inverse_and_log_det(y, parameters)
    torch.testing.assert_close(again, x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(back, -log_det, rtol=1e-6, atol=1e-6)


def test_the_log_det_is_the_log_of_the_derivative(map):
    x, parameters = draw(map, 500)
    for method in (map.forward_and_log_det, map.inverse_and_log_det):
        points = x.clone().requires_grad_()
        y, log_det = method(points, parameters)
        (slope,) = torch.autograd.grad(y.sum(), points)
        assert (slope > 0).all()
        torch.testing.assert_close(log_det.detach(), slope.log(), rtol=1e-7, atol=1e-7)


def test_batches_of_points_and_parameters_broadcast(map):
    x, parameters = draw(map, 4, 3)
    y, log_det = map.forward_and_log_det(x[:, None], parameters)
    assert y.shape == log_det.shape == (4, 4, 3)
    torch.testing.assert_close(y[2, 1], map.forward_and_log_det(x[2], parameters[1])[0])


def test_inv_swaps_the_directions(map):
    x, parameters = draw(map, 50)
    assert repr(map.inv.inv) == repr(map)
    torch.testing.assert_close(map.inv.forward_and_log_det(x, parameters), map.inverse_and_log_det(x, parameters))


def test_values_and_gradients_are_finite_anywhere(map, dtype):
    """At 0, one unit of rounding beside the ends of a box, far outside, and for extreme parameters."""
    ends = [0.0, 1e-30, 1.0, 1.5, 3.0, math.pi, 5.0, 100.0, 1e4]
    x = torch.tensor([*ends, *(-end for end in ends)], dtype=dtype)
    up, down = (torch.nextafter(x, torch.full_like(x, side)) for side in (torch.inf, -torch.inf))
    x = torch.cat([x, up, down])[:, None].requires_grad_()
    for scale in (0.0, 3.0, 300.0):
        parameters = draw(map, len(x), 1, dtype=dtype, scale=scale)[1].requires_grad_()
        for method in (map.forward_and_log_det, map.inverse_and_log_det):
            y, log_det = method(x, parameters)
            gradients = torch.autograd.grad(y.sum() + log_det.sum(), (x, parameters), allow_unused=True)
            assert all(value.isfinite().all() for value in (y, log_det, *gradients) if value is not None)


def test_first_and_second_derivatives_are_exact_in_both_directions(map):
    x, parameters = draw(map, 4, 1, scale=1.0)
    points, parameters = x.requires_grad_(), parameters.requires_grad_()
    for method in (map.forward_and_log_det, map.inverse_and_log_det):
        assert torch.autograd.gradcheck(method, (points, parameters))
        assert torch.autograd.gradgradcheck(lambda *given, call=method: call(*given)[0], (points, parameters))


def test_an_elementwise_bijector_gets_its_parameters_in_their_order():
    bijector = AffineScalar(torch.nn.Parameter(torch.tensor(0.5))) | SmoothPReLU(slope=0.3)
    map = Elementwise(bijector)
    changed = torch.tensor([0.25, -1.0])
    x = torch.linspace(-3, 3, 7)
    found = map.forward_and_log_det(x, changed)
    with torch.no_grad():  # the map has a copy
        for parameter, added in zip(bijector.parameters(), changed, strict=True):
            parameter.add_(added)
        torch.testing.assert_close(found, bijector.forward_and_log_det(x))
        torch.testing.assert_close(map.inverse_and_log_det(found[0], changed), bijector.inverse_and_log_det(found[0]))


def test_an_affine_log_scale_stays_within_its_limit():
    parameters = torch.tensor([[0.0, 1e6], [0.0, -1e6]])
    log_det = Affine(limit=2.0).forward_and_log_det(torch.zeros(2), parameters)[1]
    torch.testing.assert_close(log_det, torch.tensor([2.0, -2.0]))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Affine(limit=0.0), "limit=0.0 must be positive"),
        (lambda: Spline(bins=1), "bins=1 must be at least 2"),
        (lambda: Spline(bound=-1.0), "bound=-1.0 must be positive"),
        (lambda: Spline(bound=float("inf")), "bound=inf must be positive and finite"),
        (lambda: CircularSpline(bins=1), "bins=1 must be at least 2"),
        (lambda: Monotone(bins=0), "Monotone: bins=0 must be at least 1"),
        (lambda: Monotone(bound=0.0), "Monotone: bound=0.0 must be positive and finite"),
        (lambda: Monotone(limit=-1.0), "Monotone: limit=-1.0 must be positive and finite"),
        (lambda: Elementwise(Planar(2)), "Planar must be elementwise and have an inverse"),
        (lambda: Elementwise(Exp()), r"the parameters of Exp have shapes \[\]; it needs some"),
        (lambda: Elementwise(PReLU(size=2)), r"the parameters of PReLU have shapes \[\(2,\)\]"),
        (lambda: Elementwise(PReLU() | AffineScalar(scale=-1.0)), "Chain must be increasing; chain it with"),
    ],
)
def test_settings_out_of_range_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
