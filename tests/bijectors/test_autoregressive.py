"""Autoregressive bijectors: the fixed point of the slow direction, how early it stops, and its gradients."""

import pytest
import torch
from torch.func import jacrev

from flowlab.bijectors import MaskedAutoregressive
from flowlab.bijectors.maps import Affine, Monotone, Spline
from flowlab.networks import MaskedMLP


def stirred(dim, map, scale=0.3, order=None, context=0):
    network = MaskedMLP(dim, map.size, [max(16, dim)], context, "tanh", order=order)
    generator = torch.Generator().manual_seed(dim)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return MaskedAutoregressive(network, map).double()


def coordinate_by_coordinate(bijector, x):
    """The slow direction by its definition: d passes, one coordinate each."""
    y = torch.zeros_like(x)
    for place in range(x.shape[-1]):
        at = bijector.conditioner.order.index(place)
        y[..., at] = bijector.map.forward_and_log_det(x, bijector.conditioner(y))[0][..., at]
    return y


@pytest.mark.parametrize("map", [Affine(), Spline(bins=4), Spline().inv], ids=repr)
@pytest.mark.parametrize("dim", [1, 2, 7])
def test_the_fixed_point_is_what_one_coordinate_after_another_gives(map, dim):
    bijector = stirred(dim, map, order=list(range(dim))[::-1])
    x = torch.randn(64, dim, dtype=torch.float64)
    with torch.no_grad():
        y, log_det = bijector.forward_and_log_det(x)
        expected = coordinate_by_coordinate(bijector, x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, -bijector.inverse_and_log_det(expected)[1].detach(), rtol=1e-9, atol=1e-9)
    with_gradients = bijector.forward_and_log_det(x)
    torch.testing.assert_close(with_gradients[0].detach(), y, rtol=1e-12, atol=1e-12)
    assert bijector.forward_passes == dim


def test_the_fixed_point_stops_early():
    bijector, rounds = stirred(40, Affine(), scale=0.02), []
    run = bijector.conditioner.run
    bijector.conditioner.run = lambda *given: rounds.append(1) or run(*given)
    with torch.no_grad():
        bijector.forward(torch.randn(100, 40, dtype=torch.float64))
    assert 2 <= len(rounds) < 20


def test_a_point_does_not_depend_on_the_others_of_its_batch():
    bijector = stirred(6, Affine())
    x = torch.randn(50, 6, dtype=torch.float64)
    x[0] = 1e3  # takes the most rounds
    with torch.no_grad():
        together = bijector.forward_and_log_det(x)
        without = bijector.forward_and_log_det(x[1:])
    torch.testing.assert_close([part[1:] for part in together], list(without), rtol=1e-14, atol=1e-14)


def test_the_jacobian_is_triangular_in_the_stated_order_and_its_gradients_are_exact():
    bijector = stirred(4, Spline(bins=3), order=[2, 0, 3, 1])
    x = torch.randn(4, dtype=torch.float64)
    jacobian = jacrev(bijector)(x)
    place = torch.tensor([2, 0, 3, 1])
    assert torch.equal(jacobian != 0, place[None, :] <= place[:, None])
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], bijector.forward_and_log_det(x)[1].detach())
    assert torch.autograd.gradcheck(lambda x: bijector.forward_and_log_det(x), x.requires_grad_())


def gradients_of(bijector, x, context, call):
    """The gradients of a loss of y and log det by x, the context and all parameters."""
    tensors = [x.clone().requires_grad_(), context.clone().requires_grad_(), *bijector.parameters()]
    y, log_det = call(tensors[0], tensors[1])
    return torch.autograd.grad((y.sin() * y).sum() + log_det.square().sum(), tensors)


def recorded_rounds(bijector):
    """The slow direction with all of its rounds recorded."""

    def call(x, context):
        y = x
        for _ in range(bijector.forward_passes):
            y, log_det = bijector._round(bijector.conditioner.masked_weights(), x, y, context)
        return y, log_det.sum(-1)

    return call


@pytest.mark.parametrize("map", [Affine(), Spline(bins=4), Monotone(bins=2).inv], ids=repr)
@pytest.mark.parametrize("dim", [1, 2, 7])
def test_gradients_are_those_of_all_rounds(map, dim):
    bijector = stirred(dim, map, context=2)
    x, context = torch.randn(9, dim, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    found = gradients_of(bijector, x, context, bijector.forward_and_log_det)
    expected = gradients_of(bijector, x, context, recorded_rounds(bijector))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_gradients_stop_early_and_a_point_does_not_depend_on_the_others():
    bijector, rounds = stirred(40, Affine(), scale=0.02), []
    run = bijector.conditioner.run
    bijector.conditioner.run = lambda *given: rounds.append(torch.is_grad_enabled()) or run(*given)
    x = torch.randn(20, 40, dtype=torch.float64)
    products, grad = [], torch.autograd.grad

    def gradient(points):
        points = points.clone().requires_grad_()
        y, log_det = bijector.forward_and_log_det(points)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.autograd, "grad", lambda *given, **named: products.append(1) or grad(*given, **named))
            (y.square().sum() + log_det.sum()).backward()
        return points.grad

    together = gradient(x)
    assert rounds.count(True) == 1  # one recorded round
    assert 2 <= len(products) < 20
    torch.testing.assert_close(gradient(x[:7]), together[:7], rtol=1e-13, atol=1e-13)


def test_it_is_differentiable_once_by_backward_and_twice_by_transforms():
    bijector = stirred(3, Affine())
    x = torch.randn(3, dtype=torch.float64)
    hessian = torch.func.hessian(lambda x: bijector.forward_and_log_det(x)[1])(x)
    numbers = torch.autograd.functional.jacobian(torch.func.grad(lambda x: bijector.forward_and_log_det(x)[1]), x)
    torch.testing.assert_close(hessian, numbers)
    x.requires_grad_()
    with pytest.raises(RuntimeError, match="differentiates the slow direction once, .* use a transform of torch.func"):
        torch.autograd.grad(bijector(x).square().sum(), x, create_graph=True)


def test_autocast_keeps_the_gradients_of_every_parameter():
    bijector = stirred(3, Affine()).float()
    x = torch.randn(50, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y, log_det = bijector.forward_and_log_det(x)
    (y.square().sum() + log_det.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in bijector.parameters())


def test_contexts_broadcast_in_the_slow_direction():
    bijector = stirred(3, Affine(), context=2)
    x, context = torch.randn(5, 3, dtype=torch.float64), torch.randn(4, 1, 2, dtype=torch.float64)
    with torch.no_grad():
        y, log_det = bijector.forward_and_log_det(x, context)
    assert y.shape == (4, 5, 3)
    assert log_det.shape == (4, 5)
    torch.testing.assert_close(bijector.inverse(y, context).detach(), x.expand(4, 5, 3))


def test_a_network_for_another_map_is_refused():
    with pytest.raises(ValueError, match=r"the network gives 2 parameters a coordinate, and Spline\(bins=8, bound=5\)"):
        MaskedAutoregressive(MaskedMLP(3, size=2), Spline())
