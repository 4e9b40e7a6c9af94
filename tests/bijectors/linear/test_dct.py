"""The discrete cosine transform against scipy."""

import pytest
import scipy.fft
import torch

from flowlab.bijectors import DiscreteCosineTransform

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
