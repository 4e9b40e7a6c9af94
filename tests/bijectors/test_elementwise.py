"""Elementwise bijectors against known values, torch's transforms and scipy."""

import math

import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import transforms

from flowlab.bijectors import (
    AffineScalar,
    Exp,
    ExponentialCDF,
    Inline,
    NormalCDF,
    PReLU,
    Sigmoid,
    SmoothPReLU,
    Softplus,
    Tanh,
    from_transform,
)


def test_keydana_affine_scalar():
    x = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    bijector = AffineScalar(shift=0.0, scale=2.0).double()
    z = bijector(x)
    base = torch.distributions.Normal(0.0, 1.0)
    log_prob = base.log_prob(bijector.inverse(z)) + bijector.inverse_log_det_jacobian(z, event_ndims=0)
    expected = torch.tensor([-1.6120857, -1.7370857, -2.1120857], dtype=torch.float64)
    torch.testing.assert_close(log_prob, expected, rtol=0, atol=1e-6)


def test_keydana_normal_cdf():
    x = torch.tensor(2.01, dtype=torch.float64)
    assert NormalCDF().forward_log_det_jacobian(x, event_ndims=0).item() == pytest.approx(-2.938989, abs=1e-6)
    y = NormalCDF()(x)
    assert y.item() == pytest.approx(scipy.stats.norm.cdf(2.01), abs=1e-12)


def test_keydana_exponential():
    assert ExponentialCDF(rate=0.5).inverse(torch.tensor(0.5)).item() == pytest.approx(2 * math.log(2), abs=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Exp(), transforms.ExpTransform()),
        (Sigmoid(), transforms.SigmoidTransform()),
        (Tanh(), transforms.TanhTransform()),
        (Softplus(), transforms.SoftplusTransform()),
        (NormalCDF(), transforms.CumulativeDistributionTransform(torch.distributions.Normal(0.0, 1.0))),
        (AffineScalar(0.5, -2.0), transforms.AffineTransform(0.5, -2.0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_equals_torch_transform(ours, theirs):
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)
    y, log_det = ours.double().forward_and_log_det(x)
    torch.testing.assert_close(y, theirs(x))
    torch.testing.assert_close(log_det, theirs.log_abs_det_jacobian(x, theirs(x)))


@pytest.mark.parametrize("bijector", [Exp(), Sigmoid(), Tanh(), Softplus(), NormalCDF()], ids=repr)
@pytest.mark.parametrize("size", [10.0, 80.0])
def test_log_det_is_finite_for_large_inputs(bijector, size, dtype):
    x = torch.tensor([-size, size], dtype=dtype, requires_grad=True)
    log_det = bijector.forward_log_det_jacobian(x)
    assert log_det.isfinite().all()
    log_det.sum().backward()
    assert x.grad.isfinite().all()


def test_normal_cdf_keeps_its_left_tail(dtype):
    x = torch.tensor([-12.0, -8.0, -3.0, 0.0, 3.0], dtype=dtype)
    y = NormalCDF()(x)
    torch.testing.assert_close(y, torch.tensor(scipy.stats.norm.cdf(x.numpy()), dtype=dtype), rtol=2e-5, atol=0)
    torch.testing.assert_close(NormalCDF().inverse(y), x, rtol=1e-4, atol=1e-4)


def test_softplus_is_exact_beyond_torchs_threshold():
    x = torch.tensor([25.0], dtype=torch.float64)
    assert (Softplus()(x) - x).item() == pytest.approx(math.exp(-25), rel=1e-3)  # torch's softplus gives 0


def test_prelu_written_inline_equals_the_library():
    x = torch.linspace(-2, 2, 21, dtype=torch.float64)
    library = PReLU(slope=0.3, positive="abs").double()
    raw = nn.Parameter(library.raw_slope.detach().clone())
    inline = Inline(
        forward=lambda x, raw: torch.where(x >= 0, x, (raw.abs() + 0.01) * x),
        inverse=lambda y, raw: torch.where(y >= 0, y, y / (raw.abs() + 0.01)),
        log_det=lambda x, raw: torch.where(x >= 0, 0.0, (raw.abs() + 0.01).log()),
        raw=raw,
    )
    for first, second in zip(inline.forward_and_log_det(x), library.forward_and_log_det(x), strict=True):
        torch.testing.assert_close(first, second)
    for first, second in zip(inline.inverse_and_log_det(x), library.inverse_and_log_det(x), strict=True):
        torch.testing.assert_close(first, second)
    for bijector in (inline, library):
        value, log_det = bijector.inverse_and_log_det(x)
        (value.square().sum() + log_det.sum()).backward()
    torch.testing.assert_close(inline.raw.grad, library.raw_slope.grad)


def test_inline_derives_missing_log_det():
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for sign in (1, -1):
        sinh = Inline(lambda x, sign=sign: sign * x.sinh(), lambda y, sign=sign: (sign * y).asinh())
        torch.testing.assert_close(sinh.forward_log_det_jacobian(x), x.cosh().log())


def test_inline_passes_context_to_functions():
    shifted = Inline(lambda x, context: x + context, lambda y, context: y - context, lambda x, context: 0 * x)
    x, context = torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(shifted(x, context), context)
    assert torch.equal(shifted.inverse(context, context), x)


def test_inline_derives_the_log_det_of_vectors_with_a_context():
    bijector = Inline(lambda x, context: x * context.exp(), lambda y, context: y * (-context).exp(), event_dim=1)
    x, context = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(bijector.forward_log_det_jacobian(x, context=context), context.sum(-1))


def test_inline_refuses_names_that_bijectors_use():
    with pytest.raises(ValueError, match="'inverse'|'sign'|'parts'|'training'"):
        Inline(lambda x, training: x, training=1.0)


def test_smooth_prelu_approaches_prelu():
    x = torch.linspace(-5, 5, 41, dtype=torch.float64)
    hard = PReLU(slope=0.3).double()
    gaps = [(SmoothPReLU(slope=0.3, smoothness=eps).double()(x) - hard(x)).abs().max().item() for eps in (1, 0.1, 0.01)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.004


def test_smooth_prelu_gradients_are_finite_at_the_kink():
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    bijector = SmoothPReLU(slope=0.3).double()
    sum(value.sum() for value in bijector.inverse_and_log_det(bijector(x))).backward()
    assert x.grad.isfinite().all()
    assert bijector.raw_slope.grad.isfinite().all()


@pytest.mark.parametrize("positive", ["softplus", "abs"])
@pytest.mark.parametrize("slope", [0.02, 0.25, 1.0, 3.0])
def test_slope_is_initialized_to_given_value(positive, slope):
    bijector = PReLU(slope=slope, size=2, positive=positive)
    torch.testing.assert_close(bijector.slope, torch.full((2,), slope), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        bijector.raw_slope.fill_(-7.0)
    assert (bijector.slope >= 0.01).all()


def test_constants_are_buffers_and_parameters_are_learned():
    fixed, learned = AffineScalar(1.0, 2.0), AffineScalar(nn.Parameter(torch.tensor(1.0)), 2.0)
    assert not list(fixed.parameters())
    assert set(fixed.state_dict()) == {"shift", "scale"}
    assert [name for name, _ in learned.named_parameters()] == ["shift"]


def test_tensors_of_nested_transform_are_learned():
    inner = transforms.AffineTransform(nn.Parameter(torch.zeros(3)), torch.ones(3))
    bijector = from_transform(transforms.IndependentTransform(inner, 1))
    assert [name for name, _ in bijector.named_parameters()] == ["base_transform_loc_"]
    with torch.no_grad():
        bijector.base_transform_loc_.fill_(2.0)
    assert torch.equal(bijector(torch.zeros(3)), torch.full((3,), 2.0))
    assert bijector.event_dim == 1
    with pytest.raises(TypeError, match="got Linear"):
        from_transform(nn.Linear(2, 2))


def test_tensors_of_a_transform_are_learned():
    bijector = from_transform(transforms.AffineTransform(nn.Parameter(torch.tensor(1.0)), torch.tensor(2.0)))
    assert [name for name, _ in bijector.named_parameters()] == ["loc_"]
    with torch.no_grad():
        bijector.loc_.fill_(5.0)
    assert bijector(torch.tensor(1.0)).item() == 7.0
    assert bijector.inverse(torch.tensor(7.0)).item() == 1.0


@pytest.mark.parametrize("bijector", [Sigmoid(), Tanh()])
def test_log_det_at_infinity_is_infinite_not_nan(bijector, dtype):
    ends = torch.tensor([-torch.inf, torch.inf], dtype=dtype)
    y, log_det = bijector.forward_and_log_det(ends)
    assert log_det.tolist() == [-torch.inf, -torch.inf]
    assert bijector.inverse_and_log_det(y)[1].tolist() == [torch.inf, torch.inf]
