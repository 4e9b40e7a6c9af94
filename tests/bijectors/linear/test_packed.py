"""A packed triangular matrix gives the same results in blocks (PackedScale) as unpacked (TriangularScale)."""

import pytest
import torch

from flowlab.bijectors import LowRankAffine, fill_triangular
from flowlab.bijectors.linear.low_rank_affine import LARGEST_UNPACKED, TriangularScale
from flowlab.bijectors.linear.packed import LARGEST_COPIED, PackedScale


def random_packed(dim):
    generator = torch.Generator().manual_seed(dim)
    packed = torch.randn(dim * (dim + 1) // 2, generator=generator, dtype=torch.float64) / dim
    with torch.no_grad():  # moves the diagonal away from 0, so the triangle is far from singular
        packed += LowRankAffine(dim).scale
    return packed, torch.randn(3, dim, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 12, 13, LARGEST_UNPACKED + 1, 8 * LARGEST_UNPACKED + 3])
def test_packed_scale_equals_unpacked_triangle(dim):
    packed, rows = random_packed(dim)
    triangle = fill_triangular(packed, dim)
    packed_scale, unpacked = PackedScale(packed, dim), TriangularScale(triangle)
    torch.testing.assert_close(packed_scale.multiply(rows), rows @ triangle.T)
    torch.testing.assert_close(packed_scale.solve(rows), torch.linalg.solve(triangle, rows.T).T)
    torch.testing.assert_close(unpacked.solve(rows), packed_scale.solve(rows))
    torch.testing.assert_close(packed_scale.log_det(), torch.linalg.slogdet(triangle)[1])
    torch.testing.assert_close(packed_scale.log_det(), unpacked.log_det())


@pytest.mark.parametrize("dim", [2, 5, 6])
def test_packed_scale_passes_gradcheck(dim):
    packed, rows = random_packed(dim)

    def everything(packed, rows):
        scale = PackedScale(packed, dim)
        return scale.multiply(rows), scale.solve(rows), scale.log_det()

    inputs = (packed.requires_grad_(), rows.requires_grad_())
    assert torch.autograd.gradcheck(everything, inputs)
    assert torch.autograd.gradgradcheck(everything, inputs)


@pytest.mark.parametrize("dim", [LARGEST_UNPACKED + 1, 4 * LARGEST_COPIED, 4 * LARGEST_COPIED + 7])
def test_packed_scale_gradients_equal_unpacked_gradients(dim):
    packed, rows = random_packed(dim)

    def gradients(scale_of):
        def loss(packed, rows):
            scale = scale_of(packed)
            return (scale.multiply(rows).sin() * scale.solve(rows)).sum() + scale.log_det()

        return torch.func.grad(loss, argnums=(0, 1))(packed, rows)

    expected = gradients(lambda packed: TriangularScale(fill_triangular(packed, dim)))
    torch.testing.assert_close(gradients(lambda packed: PackedScale(packed, dim)), expected)


@pytest.mark.parametrize("dim", [5, 6])
def test_vmapped_gradients_equal_single_gradients(dim):
    stack = torch.stack([random_packed(dim)[0] * factor for factor in (0.5, 1.0, 2.0)])
    rows = torch.randn(3, 4, dim, dtype=torch.float64)

    def loss(packed, rows):
        scale = PackedScale(packed, dim)
        return (scale.multiply(rows) * scale.solve(rows).sin()).sum() + scale.log_det()

    gradients = torch.func.grad(loss, argnums=(0, 1))
    each = [gradients(*pair) for pair in zip(stack, rows, strict=True)]
    expected = tuple(torch.stack(parts) for parts in zip(*each, strict=True))
    torch.testing.assert_close(torch.vmap(gradients)(stack, rows), expected)


def test_packed_scale_compiles_to_one_graph():
    packed, rows = random_packed(6)
    packed.requires_grad_()

    def loss(packed):
        scale = PackedScale(packed, 6)
        return (scale.multiply(rows) * scale.solve(rows)).sum() + scale.log_det()

    (expected,) = torch.autograd.grad(loss(packed), packed)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(packed), packed), (expected,))


def test_small_triangles_are_unpacked_and_large_ones_stay_packed():
    sizes = (1, 2, LARGEST_UNPACKED, LARGEST_UNPACKED + 1)
    kinds = [type(LowRankAffine(dim)._scale_matrix()) for dim in sizes]
    assert kinds == [TriangularScale, TriangularScale, TriangularScale, PackedScale]


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_a_large_affine_map_equals_its_dense_matrix(batch):
    dim = LARGEST_UNPACKED + 1
    generator = torch.Generator().manual_seed(0)
    affine = LowRankAffine(dim, 3, "tril", True, factor_scale=dim**-0.5, shift_scale=1.0, generator=generator).double()
    with torch.no_grad():
        affine.scale.add_(random_packed(dim)[0] * 0.3)
    x = torch.randn(*batch, dim, generator=generator, dtype=torch.float64)
    y, log_det = affine.forward_and_log_det(x)
    torch.testing.assert_close(y, x @ affine.dense().T + affine.shift)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(affine.dense())[1].expand(batch))
    torch.testing.assert_close(affine.inverse(y), x)
