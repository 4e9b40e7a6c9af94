"""The planar flow: its determinant, its numerical inverse, and the gradients of the inverse."""

import math

import pytest
import torch
from torch import nn
from torch.func import hessian, jacfwd, jacrev, vmap

from flowlab.bijectors import Planar


def planar(product, dim=3, dtype=torch.float64):
    """Return a planar map with w.u = product, where u also has a component orthogonal to w."""
    weight = torch.linspace(-1.0, 2.0, dim, dtype=dtype)
    across = torch.ones(dim, dtype=dtype) - weight.sum() * weight / weight.square().sum()
    direction = product * weight / weight.square().sum() + across
    return Planar(dim, nn.Parameter(weight), nn.Parameter(direction), nn.Parameter(torch.tensor(0.3, dtype=dtype)))


PRODUCTS = [-20.0, -3.0, 0.0, 1.0, 30.0, 300.0]


@pytest.mark.parametrize("product", PRODUCTS)
def test_formula_and_determinant(product):
    bijector = planar(product)
    x = 2 * torch.randn(50, 3, dtype=torch.float64)
    y, log_det = bijector.forward_and_log_det(x)
    a, u = x @ bijector.weight + bijector.bias, bijector.effective_direction
    torch.testing.assert_close(
        bijector.weight @ u, torch.tensor(math.log1p(math.exp(-abs(product)))).double() + max(product, 0.0) - 1
    )
    torch.testing.assert_close(y, x + u * a.tanh()[:, None])
    expected = (1 + bijector.weight @ u * a.cosh() ** -2).abs().log()
    torch.testing.assert_close(log_det, expected, rtol=1e-6, atol=1e-9)
    jacobian = vmap(jacfwd(lambda x: bijector(x)))(x)
    if product > -20:  # below, slogdet loses digits to cancellation
        torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("product", PRODUCTS)
def test_numerical_inverse_meets_documented_error(product, dtype):
    """The error is below 1e-12 (1e-4 in float32) where the slope exceeds 0.04; the image always agrees to rounding."""
    bijector = planar(product, dtype=dtype)
    x = (3 * torch.randn(2000, 3, dtype=dtype)).clamp(-10, 10)
    y = bijector(x)
    back, log_det = bijector.inverse_and_log_det(y)
    if product >= -3:
        assert (back - x).abs().max() < {torch.float32: 1e-4, torch.float64: 1e-12}[dtype]
    scale = (1 + bijector.weight.norm()) * (y.abs().max() + bijector.effective_direction.norm())
    assert (bijector(back) - y).abs().max() < 32 * torch.finfo(dtype).eps * scale
    assert log_det.isfinite().all()


def test_inverse_recovers_distant_points(dtype):
    x = torch.tensor([[1e6, -1e6, 1e6], [1e4, 0.0, -1e5]], dtype=dtype)
    for product in PRODUCTS:
        bijector = planar(product, dtype=dtype)
        torch.testing.assert_close(bijector.inverse(bijector(x)), x, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("product", [-2.0, 0.5, 20.0])
def test_implicit_gradients_equal_finite_differences(product):
    bijector = planar(product)

    def inverse(y, weight, direction, bias):
        return torch.func.functional_call(Inverse(), {"b.weight": weight, "b.direction": direction, "b.bias": bias}, y)

    class Inverse(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = bijector

        def forward(self, y):
            return self.b.inverse_and_log_det(y)

    parameters = [p.detach().clone().requires_grad_() for p in (bijector.weight, bijector.direction, bijector.bias)]
    y = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(inverse, (y, *parameters))
    assert torch.autograd.gradgradcheck(inverse, (y, *parameters), atol=1e-4)


def test_second_derivatives_of_the_inverse():
    """The inverse of a scalar map: f^-1'' = -f'' / f'^3."""
    bijector = Planar(1, torch.tensor([1.5]), torch.tensor([2.0]), 0.2).double()
    x = torch.tensor([0.4], dtype=torch.float64)
    first, second = jacrev(bijector.forward)(x).squeeze(), hessian(bijector.forward)(x).squeeze()
    torch.testing.assert_close(hessian(bijector.inverse)(bijector(x)).squeeze(), -second / first**3)


def test_direction_for_gives_wanted_effective_direction():
    weight, wanted = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.5, 0.2]).double()
    bijector = Planar(2, weight, Planar.direction_for(weight, wanted))
    torch.testing.assert_close(bijector.effective_direction, wanted)
    with pytest.raises(ValueError, match="is -2, it must be greater than -1"):
        Planar.direction_for(weight, torch.tensor([0.0, 1.0]).double())


def test_given_parameters_are_kept_and_others_are_drawn():
    def make(seed):
        return Planar(400, bias=1.5, generator=torch.Generator().manual_seed(seed))

    bijector = make(0)
    assert [name for name, _ in bijector.named_parameters()] == ["weight", "direction"]
    assert bijector.weight.std().item() == pytest.approx(0.05, rel=0.2)
    assert torch.equal(bijector.weight, make(0).weight)
    with torch.no_grad():
        bijector.weight.zero_()
    bijector.reset_parameters(torch.Generator().manual_seed(1))
    assert torch.equal(bijector.weight, make(1).weight)
    assert torch.equal(bijector.direction, make(1).direction)
    assert bijector.bias.item() == 1.5
    learned = nn.Parameter(torch.ones(2))
    held = Planar(2, weight=learned)
    held.reset_parameters()
    assert held.weight is learned
    assert torch.equal(learned, torch.ones(2))
    assert held.bias.item() == 0.0
