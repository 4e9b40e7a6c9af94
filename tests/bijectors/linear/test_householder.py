"""Householder: the product of its reflections, one after another."""

import pytest
import torch

from flowlab.bijectors import Householder


@pytest.mark.parametrize(("dim", "reflections"), [(1, 1), (3, 2), (4, 4), (3, 7)])
def test_it_is_the_product_of_its_reflections(dim, reflections):
    bijector = Householder(dim, reflections, "random", torch.Generator().manual_seed(0)).double()
    matrix = torch.eye(dim, dtype=torch.float64)
    for v in bijector.vectors.detach():
        matrix = matrix @ (torch.eye(dim, dtype=torch.float64) - 2 * torch.outer(v, v) / (v @ v))
    x = torch.randn(2, 5, dim, dtype=torch.float64)
    torch.testing.assert_close(bijector(x).detach(), x @ matrix.mT)
    torch.testing.assert_close(bijector.inverse(x).detach(), x @ matrix)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_it_starts_at_the_identity_and_leaves_it(dim):
    bijector = Householder(dim, generator=torch.Generator().manual_seed(0)).double()
    assert len(bijector.vectors) == dim + dim % 2
    x = torch.randn(9, dim, dtype=torch.float64)
    torch.testing.assert_close(bijector(x).detach(), x)
    (gradient,) = torch.autograd.grad((bijector(x) * torch.randn(9, dim)).sum(), bijector.vectors)
    assert dim == 1 or gradient.abs().max() > 1e-3
