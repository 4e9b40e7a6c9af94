"""The low-rank affine map against dense linear algebra."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


def test_dense_returns_documented_matrix():
    affine = random_affine(4, 2, "tril", True, torch.float64)
    expected = fill_triangular(affine.scale, 4) + affine.factor @ affine.weights.diag() @ affine.factor.T
    torch.testing.assert_close(affine.dense(), expected)


def test_scale_is_initialized_to_identity():
    affine = LowRankAffine(4, rank=2)
    assert torch.equal(fill_triangular(affine.scale, 4), torch.eye(4))
    assert torch.equal(affine.shift, torch.zeros(4))
    first = LowRankAffine(4, 2, generator=torch.Generator().manual_seed(3)).factor
    second = LowRankAffine(4, 2, generator=torch.Generator().manual_seed(3)).factor
    assert torch.equal(first, second)


class Allocations(TorchDispatchMode):
    """Record the size of each memory block that torch operations allocate, in float32 values."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        out = operation(*arguments, **(options or {}))
        held = [tensor.untyped_storage() for tensor in tree_leaves(arguments) if isinstance(tensor, torch.Tensor)]
        known = {memory.data_ptr() for memory in held}
        made = [tensor.untyped_storage() for tensor in tree_leaves(out) if isinstance(tensor, torch.Tensor)]
        self.sizes += [memory.nbytes() // 4 for memory in made if memory.data_ptr() not in known]
        return out


def allocations(affine, points):
    """Return, by task, the sizes allocated by a map, its inverse and their gradients, in float32 values."""
    sizes = {}
    for task in ("forward", "inverse"):
        with Allocations() as seen:
            image, log_det = getattr(affine, f"{task}_and_log_det")(points)
        with Allocations() as seen_back:
            (image.square().sum() + log_det.sum()).backward()
        assert all(leaf.grad is not None for leaf in (*affine.parameters(), points))
        sizes |= {task: seen.sizes, f"{task} back": seen_back.sizes}
    return sizes


@pytest.mark.parametrize("weighted", [False, True])
def test_diagonal_scale_allocates_no_square_matrix(weighted):
    dim, rank, count = 5000, 3, 4
    affine = LowRankAffine(dim, rank, "diag", weighted, factor_scale=dim**-0.5)
    for task, sizes in allocations(affine, torch.randn(count, dim, requires_grad=True)).items():
        assert max(sizes) <= (count + rank) * dim, task
        assert sum(sizes) <= 20 * (count + rank) * dim, task


@pytest.mark.parametrize("dim", [1200, 1201])
def test_large_packed_triangle_is_never_unpacked(dim):
    rank, count = 3, 4
    affine = LowRankAffine(dim, rank, "tril", factor_scale=dim**-0.5)
    packed = affine.scale.numel()
    for task, sizes in allocations(affine, torch.randn(count, dim, requires_grad=True)).items():
        assert max(sizes) <= packed + (count + rank) * dim, task
        triangles = 12 if "back" in task else 1  # a backward pass through views would take about 20
        assert sum(sizes) <= triangles * packed, task
