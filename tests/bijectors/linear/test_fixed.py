"""The discrete cosine transform against scipy; triangular matrices from vectors, and flows of them."""

import pytest
import scipy.fft
import torch

from flowlab import Flow, StandardNormal
from flowlab.bijectors import (
    AffineScalar,
    DiscreteCosineTransform,
    Exp,
    FillTriangular,
    fill_triangular,
    pack_triangular,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 7, 16, 101])
def test_equals_scipy(dim, dtype):
    x = torch.randn(2, 5, dim, dtype=dtype)
    bijector = DiscreteCosineTransform()
    forward = torch.from_numpy(scipy.fft.dct(x.numpy(), type=2, norm="ortho"))
    inverse = torch.from_numpy(scipy.fft.dct(x.numpy(), type=3, norm="ortho"))
    torch.testing.assert_close(bijector(x), forward, rtol=0, atol=TOLERANCE[dtype])
    torch.testing.assert_close(bijector.inverse(x), inverse, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dim", [1, 2, 5, 8])
def test_the_matrix_is_orthogonal(dim):
    matrix = DiscreteCosineTransform()(torch.eye(dim, dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(dim, dtype=torch.float64), rtol=0, atol=1e-14)


def test_gradients_pass_gradcheck():
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(DiscreteCosineTransform(), (x,))
    assert torch.autograd.gradcheck(DiscreteCosineTransform().inverse, (x,))


def test_entry_order_equals_tensorflow_probability():
    packed = torch.arange(1.0, 7.0)
    expected = torch.tensor([[4.0, 0.0, 0.0], [6.0, 5.0, 0.0], [3.0, 2.0, 1.0]])
    assert torch.equal(FillTriangular()(packed), expected)
    assert torch.equal(FillTriangular().inverse(expected), packed)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_pack_triangular_inverts_fill_triangular(dim):
    packed = torch.arange(1.0, dim * (dim + 1) + 1).view(2, -1)
    matrices = fill_triangular(packed, dim)
    assert matrices.shape == (2, dim, dim)
    assert torch.equal(matrices, matrices.tril())
    assert torch.equal(pack_triangular(matrices), packed)
    assert torch.equal(matrices[1], fill_triangular(packed[1], dim))


def test_pack_triangular_is_differentiable():
    matrix = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    pack_triangular(matrix).sum().backward()
    assert torch.equal(matrix.grad, torch.ones(2, 3, 3).double().tril())


@pytest.mark.parametrize(
    ("length", "message"),
    [(4, r"4 numbers.*3 \(d = 2\) and 6 \(d = 3\)"), (2, r"1 \(d = 1\)"), (0, r"are 1 \(d = 1\)")],
)
def test_wrong_vector_length_is_refused(length, message):
    for ask in (lambda: FillTriangular()(torch.zeros(5, length)), lambda: FillTriangular().forward_shape((5, length))):
        with pytest.raises(ValueError, match=message):
            ask()


def test_inverse_refuses_non_square_matrix():
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        FillTriangular().inverse(torch.zeros(3, 2))


def test_a_flow_of_matrices():
    flow = Flow(StandardNormal(3), AffineScalar(shift=0.5, scale=2.0) | FillTriangular()).double()
    distribution = flow.distribution()
    assert (distribution.event_shape, distribution.batch_shape) == ((2, 2), ())
    y = distribution.rsample((4, 5))
    expected = torch.distributions.Normal(0.5, 2.0).log_prob(pack_triangular(y)).sum(-1)
    torch.testing.assert_close(distribution.log_prob(y), expected)
    sample, log_prob = flow.rsample_and_log_prob((3,))
    torch.testing.assert_close(log_prob, flow.log_prob(sample))
    assert torch.equal(distribution.mean, torch.full((2, 2), 0.5).double().tril())
    known = torch.distributions.MultivariateNormal(torch.zeros(3).double(), 4 * torch.eye(3).double())
    torch.testing.assert_close(distribution.entropy(), known.entropy())
    assert (distribution.log_prob(y + 1) == -torch.inf).all(), "what is above the diagonal must be 0"
    y[0, 0, 1, 1] = torch.inf
    assert distribution.log_prob(y).isneginf().nonzero().tolist() == [[0, 0]]
    assert len(flow.summary()) == 3


def test_last_batch_dimension_of_base_becomes_event():
    base = torch.distributions.Normal(torch.zeros(7, 3).double(), torch.ones(7, 3).double())
    affine = Flow(base, AffineScalar(scale=torch.arange(1.0, 22.0).view(7, 3)) | FillTriangular()).double()
    expected = (base.entropy() + torch.arange(1.0, 22.0, dtype=torch.float64).view(7, 3).log()).sum(-1)
    torch.testing.assert_close(affine.distribution().entropy(), expected)
    sample, log_prob = affine.rsample_and_log_prob()
    torch.testing.assert_close(log_prob, affine.log_prob(sample))
    flow = Flow(base, Exp() | FillTriangular()).double()
    assert (flow.distribution().batch_shape, flow.distribution().event_shape) == ((7,), (2, 2))
    y = flow.sample((4,))
    assert y.shape == (4, 7, 2, 2)
    expected = torch.distributions.LogNormal(0.0, 1.0).log_prob(pack_triangular(y)).sum(-1)
    torch.testing.assert_close(flow.log_prob(y), expected)


def test_transform_to_lower_triangular_is_registered_in_torch():
    transform = torch.distributions.transform_to(torch.distributions.constraints.lower_triangular)
    assert torch.equal(transform(torch.arange(1.0, 4.0)), torch.tensor([[3.0, 0.0], [2.0, 1.0]]))
