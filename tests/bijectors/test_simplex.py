"""Probabilities: values, the determinant between free coordinates, and flows on the simplex."""

import math

import pytest
import torch
from torch.distributions import Dirichlet
from torch.distributions.transforms import CorrCholeskyTransform, StickBreakingTransform
from torch.func import jacfwd, vmap

from flowlab import Flow, StandardNormal
from flowlab.bijectors import AffineScalar, FillTriangular, LowRankAffine, SoftmaxCentered, from_transform, to_transform


def triangle(cells=400):
    """Points inside the simplex of three coordinates, by the first two, and the area of a cell."""
    axis = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    first = torch.cartesian_prod(axis, axis)
    first = first[first.sum(-1) < 1 - 0.5 / cells]
    return torch.cat([first, 1 - first.sum(-1, keepdim=True)], -1), cells**-2


def test_values():
    y = SoftmaxCentered()(torch.tensor([math.log(2.0), math.log(3.0)], dtype=torch.float64))
    torch.testing.assert_close(y, torch.tensor([2.0, 3.0, 1.0], dtype=torch.float64) / 6)


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_log_det_is_that_of_the_first_coordinates(dim):
    x = 3 * torch.randn(20, dim, dtype=torch.float64)
    expected = torch.linalg.slogdet(vmap(jacfwd(lambda x: SoftmaxCentered()(x)[:-1]))(x))[1]
    torch.testing.assert_close(SoftmaxCentered().forward_log_det_jacobian(x), expected, rtol=1e-9, atol=1e-9)


def test_inverts_until_a_coordinate_underflows(dtype):
    size = {torch.float32: 80.0, torch.float64: 700.0}[dtype]
    x = torch.tensor([[-size, 0.0], [size, -3.0], [size, size]], dtype=dtype, requires_grad=True)
    y, log_det = SoftmaxCentered().forward_and_log_det(x)
    torch.testing.assert_close(SoftmaxCentered().inverse(y)[0], x[0], rtol=1e-4, atol=1e-4)
    assert log_det.isfinite().all()
    log_det.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("stage", [SoftmaxCentered(), from_transform(StickBreakingTransform())], ids=["ours", "torch"])
def test_a_flow_on_the_simplex_integrates_to_one(stage):
    affine = LowRankAffine(2, 1, factor_scale=0.3, shift_scale=0.3, generator=torch.Generator().manual_seed(0))
    flow = Flow(StandardNormal(2), affine | AffineScalar(scale=0.7) | stage).double()
    y, cell = triangle()
    with torch.no_grad():
        assert (flow.log_prob(y).exp().sum() * cell).item() == pytest.approx(1.0, abs=2e-3)
    x = flow.base.rsample((7,))
    y, log_prob = flow.push_forward(x)
    torch.testing.assert_close(flow.log_prob(y), log_prob)
    distribution = flow.distribution()
    assert (distribution.event_shape, distribution.batch_shape) == ((3,), ())
    assert distribution.support.check(y).all()
    outside = torch.tensor([[0.5, 0.5, 0.0], [0.4, 0.4, 0.4], [-0.2, 0.6, 0.6], [torch.nan, 0.5, 0.5]]).double()
    assert not distribution.support.check(outside).any()
    assert (flow.log_prob(outside) == -torch.inf).all()


def test_logits_of_a_dirichlet_come_back():
    dirichlet = Dirichlet(torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64))
    flow = Flow(dirichlet, SoftmaxCentered().inv | AffineScalar(shift=1.0, scale=2.0)).double()
    y = torch.randn(10, 2, dtype=torch.float64)
    probabilities, log_det = (AffineScalar(1.0, 2.0).inv.double() | SoftmaxCentered()).forward_and_log_det(y)
    torch.testing.assert_close(flow.log_prob(y), dirichlet.log_prob(probabilities) + log_det)
    assert flow.distribution().event_shape == (2,)
    with pytest.raises(ValueError, match="AffineScalar maps all numbers.*Simplex"):
        Flow(dirichlet, AffineScalar(scale=2.0))


def test_torch_distributions_take_it():
    base = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    theirs = torch.distributions.TransformedDistribution(base, [to_transform(SoftmaxCentered())])
    assert theirs.event_shape == (3,)
    y = theirs.sample((5,))
    torch.testing.assert_close(theirs.log_prob(y), Flow(base, SoftmaxCentered()).log_prob(y))


def test_transforms_of_torch_to_matrices():
    """torch packs a correlation matrix of d = 3 in three numbers: another change of shape, with a determinant."""
    flow = Flow(StandardNormal(3), from_transform(CorrCholeskyTransform())).double()
    y, log_prob = flow.rsample_and_log_prob((6,))
    assert flow.distribution().event_shape == (3, 3)
    torch.testing.assert_close(flow.log_prob(y), log_prob)
    assert (flow.log_prob(2 * y) == -torch.inf).all()


def test_an_image_has_two_coordinates():
    with pytest.raises(ValueError, match="at least 2"):
        SoftmaxCentered().inverse(torch.ones(4, 1))


def test_a_map_of_all_numbers_cannot_follow_a_thin_image():
    for thin in (SoftmaxCentered(), FillTriangular(), from_transform(StickBreakingTransform())):
        with pytest.raises(ValueError, match="AffineScalar cannot follow"):
            thin | AffineScalar(scale=2.0)
        assert len(thin | thin.inv | AffineScalar(scale=2.0)) == 3
