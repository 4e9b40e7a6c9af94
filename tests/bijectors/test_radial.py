"""The radial flow: its determinant and closed-form inverse, including the centre and distant points."""

import pytest
import torch
from torch import nn
from torch.func import jacfwd, jacrev, vmap

from flowlab.bijectors import Radial

ALPHA_BETA = [(1.0, 0.0), (1.5, -1.2), (0.7, 3.0), (1.0, -1 + 1e-6), (1e-3, 1e3), (1e3, -999.99), (1.0, 1e6)]


@pytest.mark.parametrize(("alpha", "beta"), ALPHA_BETA)
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_formula_and_determinant(alpha, beta, dim):
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
