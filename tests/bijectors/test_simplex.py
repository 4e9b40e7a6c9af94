"""SoftmaxCentered: values, the determinant in the free coordinates, and flows on the simplex."""

import math

import pytest
import torch
from torch.distributions import Dirichlet
from torch.distributions.transforms import CorrCholeskyTransform, StickBreakingTransform
from torch.func import jacfwd, vmap

from flowlab import Flow, StandardNormal
from flowlab.bijectors import (
    AffineScalar,
    Chain,
    FillTriangular,
    LowRankAffine,
    SoftmaxCentered,
    from_transform,
    to_transform,
)


def triangle(cells=400):
    """Return a grid of points inside the simplex of three coordinates, and the area of a cell."""
    axis = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    first = torch.cartesian_prod(axis, axis)
    first = first[first.sum(-1) < 1 - 0.5 / cells]
    return torch.cat([first, 1 - first.sum(-1, keepdim=True)], -1), cells**-2


def test_value_at_a_known_point():
    y = SoftmaxCentered()(torch.tensor([math.log(2.0), math.log(3.0)], dtype=torch.float64))
    torch.testing.assert_close(y, torch.tensor([2.0, 3.0, 1.0], dtype=torch.float64) / 6)


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_log_det_equals_jacobian_of_first_coordinates(dim):
    x = 3 * torch.randn(20, dim, dtype=torch.float64)
    expected = torch.linalg.slogdet(vmap(jacfwd(lambda x: SoftmaxCentered()(x)[:-1]))(x))[1]
    torch.testing.assert_close(SoftmaxCentered().forward_log_det_jacobian(x), expected, rtol=1e-9, atol=1e-9)


def test_inverse_works_until_a_coordinate_underflows(dtype):
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


def test_flow_over_dirichlet_logits_has_exact_density():
    dirichlet = Dirichlet(torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64))
    flow = Flow(dirichlet, SoftmaxCentered().inv | AffineScalar(shift=1.0, scale=2.0)).double()
    y = torch.randn(10, 2, dtype=torch.float64)
    probabilities, log_det = (AffineScalar(1.0, 2.0).inv.double() | SoftmaxCentered()).forward_and_log_det(y)
    torch.testing.assert_close(flow.log_prob(y), dirichlet.log_prob(probabilities) + log_det)
    assert flow.distribution().event_shape == (2,)
    with pytest.raises(ValueError, match="AffineScalar maps all numbers.*Simplex"):
        Flow(dirichlet, AffineScalar(scale=2.0))


def test_torch_transformed_distribution_accepts_it():
    base = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    theirs = torch.distributions.TransformedDistribution(base, [to_transform(SoftmaxCentered())])
    assert theirs.event_shape == (3,)
    y = theirs.sample((5,))
    torch.testing.assert_close(theirs.log_prob(y), Flow(base, SoftmaxCentered()).log_prob(y))


def test_torch_transform_to_correlation_matrices():
    """torch packs a 3 x 3 correlation matrix into three values: the shape changes, and the map has a determinant."""
    flow = Flow(StandardNormal(3), from_transform(CorrCholeskyTransform())).double()
    y, log_prob = flow.rsample_and_log_prob((6,))
    assert flow.distribution().event_shape == (3, 3)
    torch.testing.assert_close(flow.log_prob(y), log_prob)
    assert (flow.log_prob(2 * y) == -torch.inf).all()


def test_inverse_refuses_a_single_coordinate():
    with pytest.raises(ValueError, match="at least 2"):
        SoftmaxCentered().inverse(torch.ones(4, 1))


def test_unconstrained_map_cannot_follow_a_lower_dimensional_image():
    for lower_dimensional in (SoftmaxCentered(), FillTriangular(), from_transform(StickBreakingTransform())):
        with pytest.raises(ValueError, match="AffineScalar cannot follow"):
            lower_dimensional | AffineScalar(scale=2.0)
        assert len(lower_dimensional | lower_dimensional.inv | AffineScalar(scale=2.0)) == 3


@pytest.mark.parametrize("classes", [3, 10_000, 100_000])
@pytest.mark.parametrize(
    "make",
    [
        lambda classes: Flow(StandardNormal(classes - 1), AffineScalar(scale=5.0) | SoftmaxCentered()),
        lambda classes: Flow(Dirichlet(torch.ones(classes)), SoftmaxCentered().inv),
        lambda classes: Flow(Dirichlet(torch.ones(classes)), Chain([])),
    ],
)
def test_samples_with_many_classes_have_a_density(classes, make):
    """Their sum is 1 up to rounding, which grows with the number of classes."""
    flow = make(classes)
    y = flow.sample((5,), generator=torch.Generator().manual_seed(0))
    assert flow.log_prob(y).isfinite().all()
    if flow.event_shape == (classes,):
        assert (flow.log_prob(1.01 * y) == -torch.inf).all()
