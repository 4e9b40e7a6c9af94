"""Every map: the identity at parameters 0, an exact inverse, and the derivative that its log det claims."""

import pytest
import torch

from flowlab.bijectors.maps import Additive, Affine, Spline

MAPS = {
    "additive": Additive(),
    "affine": Affine(),
    "affine limit": Affine(limit=0.5),
    "spline": Spline(),
    "spline of 2 bins": Spline(bins=2, bound=1.5),
    "inverse spline": Spline(bins=5).inv,
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
        torch.testing.assert_close(y, x)
        torch.testing.assert_close(log_det, torch.zeros_like(x), rtol=0, atol=4e-6 if dtype == torch.float32 else 1e-14)


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
    ],
)
def test_settings_out_of_range_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
