"""LU: its triangles, and its start at the identity or a rotation."""

import pytest
import torch

from flowlab.bijectors import LU
from flowlab.bijectors.linear.lu import draw_rotation


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_a_rotation_starts_at_a_rotation_that_the_generator_draws(dim):
    bijector = LU(dim, "rotation", torch.Generator().manual_seed(3)).double()
    matrix = bijector(torch.eye(dim, dtype=torch.float64)).mT.detach()
    expected = draw_rotation(dim, torch.Generator().manual_seed(3)).double()
    torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(dim, dtype=torch.float64), rtol=0, atol=1e-5)
    assert torch.linalg.det(matrix) > 0
    bijector.reset_parameters(torch.Generator().manual_seed(4))
    assert dim == 1 or (bijector(torch.eye(dim, dtype=torch.float64)) - matrix.mT).abs().max() > 0.01


def test_rotations_are_uniform():
    """The mean of the matrices is 0, and the mean square of an entry is 1 / d."""
    generator = torch.Generator().manual_seed(0)
    many = torch.stack([draw_rotation(3, generator) for _ in range(3000)])
    assert many.mean(0).abs().max() < 5 * (1 / 3 / 3000) ** 0.5
    assert (many.square().mean(0) - 1 / 3).abs().max() < 0.03


def test_a_trained_rotation_keeps_its_log_det_and_inverse():
    bijector = LU(4, "rotation", torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for parameter in bijector.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    x = torch.randn(5, 4, dtype=torch.float64)
    y, log_det = bijector.forward_and_log_det(x)
    matrix = (bijector(torch.eye(4, dtype=torch.float64)) - bijector.shift).mT
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(matrix)[1])
    torch.testing.assert_close(bijector.inverse(y), x)


def test_at_the_identity_it_has_no_other_tensors():
    """So checkpoints of earlier versions load."""
    assert set(LU(3).state_dict()) == {"factors", "log_diagonal", "shift"}
