"""The low-rank affine map against dense linear algebra."""

import pytest
import torch

from flowlab.bijectors import LowRankAffine, fill_triangular


def random_affine(dim, rank, scale, weighted, dtype):
    generator = torch.Generator().manual_seed(0)
    affine = LowRankAffine(dim, rank, scale, weighted, 0.5, 0.5, generator).to(dtype)
    with torch.no_grad():
        affine.scale.add_(0.3 * torch.randn(affine.scale.shape, generator=generator, dtype=dtype))
        if affine.weights is not None:
            affine.weights.copy_(torch.linspace(-0.5, 1.5, rank))
    return affine


@pytest.mark.parametrize("scale", ["tril", "diag"])
@pytest.mark.parametrize(("dim", "rank"), [(1, 0), (1, 1), (2, 2), (5, 0), (5, 1), (5, 3), (12, 12)])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_dense_matrix(dim, rank, scale, weighted, dtype):
    affine = random_affine(dim, rank, scale, weighted, dtype)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-11}[dtype]
    x = torch.randn(7, dim, dtype=dtype)
    matrix = affine.dense()
    y, log_det = affine.forward_and_log_det(x)
    torch.testing.assert_close(y, x @ matrix.T + affine.shift, rtol=tolerance, atol=tolerance)
    expected = torch.linalg.slogdet(matrix)[1].expand(7)
    torch.testing.assert_close(log_det, expected, rtol=tolerance, atol=tolerance)
    solved = torch.linalg.solve(matrix, (y - affine.shift).T).T
    torch.testing.assert_close(affine.inverse(y), solved, rtol=100 * tolerance, atol=100 * tolerance)


def test_dense_is_the_formula():
    affine = random_affine(4, 2, "tril", True, torch.float64)
    expected = fill_triangular(affine.scale, 4) + affine.factor @ affine.weights.diag() @ affine.factor.T
    torch.testing.assert_close(affine.dense(), expected)


def test_start_is_a_triangle_of_ones_on_the_diagonal():
    affine = LowRankAffine(4, rank=2)
    assert torch.equal(fill_triangular(affine.scale, 4), torch.eye(4))
    assert torch.equal(affine.shift, torch.zeros(4))
    first = LowRankAffine(4, 2, generator=torch.Generator().manual_seed(3)).factor
    second = LowRankAffine(4, 2, generator=torch.Generator().manual_seed(3)).factor
    assert torch.equal(first, second)


def test_a_diagonal_scale_makes_no_square_matrix():
    """At d = 100 000 a d x d temporary would take 40 GB."""
    affine = LowRankAffine(100_000, rank=2, scale="diag", factor_scale=0.01)
    x = torch.randn(2, 100_000)
    y = affine(x)
    torch.testing.assert_close(affine.inverse(y), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "dim=0"),
        ({"dim": 2, "rank": 3}, "rank=3"),
        ({"dim": 2, "rank": -1}, "rank=-1"),
        ({"dim": 2, "scale": "dense"}, "'dense'.*tril, diag"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LowRankAffine(**arguments)
