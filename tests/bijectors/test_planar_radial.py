"""The planar flow, its numerical inverse and the gradients of that; the radial flow, also at the centre and far out."""

import math

import pytest
import torch
from torch import nn
from torch.func import hessian, jacfwd, jacrev, vmap

from flowlab.bijectors import Planar, Radial


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


ALPHA_BETA = [(1.0, 0.0), (1.5, -1.2), (0.7, 3.0), (1.0, -1 + 1e-6), (1e-3, 1e3), (1e3, -999.99), (1.0, 1e6)]


@pytest.mark.parametrize(("alpha", "beta"), ALPHA_BETA)
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_formula_and_determinant_of_a_radial_map(alpha, beta, dim):
    bijector = Radial(dim, torch.ones(dim), alpha, beta).double()
    torch.testing.assert_close(bijector.alpha.item(), alpha, rtol=1e-6, atol=0)
    x = 2 * torch.randn(50, dim, dtype=torch.float64)
    y, log_det = bijector.forward_and_log_det(x)
    offset = x - 1
    expected = x + bijector.beta * offset / (bijector.alpha + offset.norm(dim=-1, keepdim=True))
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    determinant = torch.linalg.slogdet(vmap(jacfwd(lambda x: bijector(x)))(x))[1]
    torch.testing.assert_close(log_det, determinant, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("alpha", "beta"), ALPHA_BETA)
def test_round_trip_near_and_far(alpha, beta, dtype):
    """Distances to the centre range from 1e-4 to 1e4; the steepest map multiplies distances by a million."""
    bijector = Radial(3, torch.zeros(3), alpha, beta).to(dtype)
    x = torch.randn(2000, 3, dtype=dtype) * torch.logspace(-4, 4, 2000, dtype=dtype)[:, None]
    y, log_det = bijector.forward_and_log_det(x)
    back, inverse_log_det = bijector.inverse_and_log_det(y)
    tolerance = {torch.float32: 5e-4, torch.float64: 1e-12}[dtype]
    assert ((back - x).norm(dim=-1) / x.norm(dim=-1)).max() < tolerance
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=4 * tolerance)


def test_alpha_and_beta_are_initialized_to_given_values():
    bijector = Radial(2, alpha=0.5, beta=-0.3).double()
    torch.testing.assert_close(bijector.alpha.item(), 0.5, rtol=1e-6, atol=0)
    torch.testing.assert_close(bijector.beta.item(), -0.3, rtol=1e-6, atol=0)
    with torch.no_grad():
        bijector.raw_alpha.fill_(-7.0)
        bijector.raw_gamma.fill_(-30.0)
    assert bijector.alpha > 0
    assert bijector.beta > -bijector.alpha
    identity = Radial(2)
    torch.testing.assert_close(identity(torch.ones(2)), torch.ones(2))


@pytest.mark.parametrize(("alpha", "beta"), [(1.5, -1.2), (0.7, 3.0), (1.0, 0.0)])
def test_finite_at_the_centre(alpha, beta, dtype):
    centre = torch.tensor([1.0, -2.0], dtype=dtype)
    for direction in ("forward_and_log_det", "inverse_and_log_det"):
        bijector = Radial(2, nn.Parameter(centre.clone()), alpha, beta).to(dtype)
        x = centre.clone().requires_grad_()
        value, log_det = getattr(bijector, direction)(x)
        torch.testing.assert_close(value, centre)
        (value.sum() + log_det).backward()
        for tensor in (x, *bijector.parameters()):
            assert tensor.grad.isfinite().all()
    # At the centre the map multiplies by gamma / alpha.
    jacobian = torch.eye(2, dtype=dtype) * (alpha + beta) / alpha
    torch.testing.assert_close(jacrev(bijector.forward)(centre), jacobian, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(jacrev(bijector.inverse)(centre), jacobian.inverse(), rtol=1e-5, atol=1e-6)


def test_inverse_gradient_is_right_where_the_root_formula_switches():
    """At r' = gamma, the derivative of |r' - gamma| alone would lose half of the gradient."""
    bijector = Radial(2, torch.zeros(2), alpha=1.0, beta=1.0).double()
    with torch.no_grad():
        gamma = (bijector.alpha + bijector.beta).item()
    y = torch.tensor([gamma, 0.0], dtype=torch.float64)
    forward = jacrev(bijector.forward)(bijector.inverse(y))
    torch.testing.assert_close(jacrev(bijector.inverse)(y), forward.inverse(), rtol=1e-9, atol=1e-9)


def test_gradients_equal_finite_differences():
    bijector = Radial(3, alpha=0.5, beta=2.0, generator=torch.Generator().manual_seed(0)).double()
    y = 2 * torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bijector.inverse_and_log_det, (y,))
    assert torch.autograd.gradcheck(bijector.forward_and_log_det, (y,))


def test_centre_is_drawn_unless_given():
    def make(seed):
        return Radial(500, generator=torch.Generator().manual_seed(seed))

    bijector = make(0)
    assert bijector.centre.std().item() == pytest.approx(1.0, rel=0.2)
    with torch.no_grad():
        bijector.raw_alpha.zero_()
    bijector.reset_parameters(torch.Generator().manual_seed(1))
    assert all(torch.equal(a, b) for a, b in zip(bijector.parameters(), make(1).parameters(), strict=True))
    constant = Radial(2, torch.ones(2))
    constant.reset_parameters()
    assert {name for name, _ in constant.named_parameters()} == {"raw_alpha", "raw_gamma"}
    assert torch.equal(constant.centre, torch.ones(2))
