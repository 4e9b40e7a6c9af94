"""Inside autocast, only matrix products of points run in bfloat16."""

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal, Normal, transform_to

from flowlab import Flow
from flowlab.autocast import full_precision
from flowlab.bijectors import Bijector, Exp, Inline, LowRankAffine, SmoothPReLU, Tanh, pack_triangular, stages
from flowlab.bijectors.examples import DIM, EXAMPLES
from flowlab.bijectors.linear.low_rank_affine import LARGEST_UNPACKED, TriangularScale
from flowlab.bijectors.linear.packed import PackedScale
from flowlab.distributions.base import StandardNormal

EPSILON = 2**-8  # bfloat16 has 8 significant bits


@pytest.fixture(params=EXAMPLES, ids=str)
def example(request):
    return EXAMPLES[request.param]()


@pytest.fixture
def autocast():
    return torch.autocast("cpu", torch.bfloat16)


def points(bijector, dtype=torch.float32):
    x = torch.randn(16, DIM, generator=torch.Generator().manual_seed(1)).clamp(-2, 2)
    return transform_to(bijector.domain)(x).to(dtype)


def has_network(bijector):
    """Its parameters come from products of points, in both directions."""
    return any(hasattr(getattr(stage, "bijector", stage), "conditioner") for stage in stages(bijector))


def has_matrix_products(bijector):
    affines = [stage for stage in stages(bijector) if isinstance(stage, LowRankAffine)]
    return has_network(bijector) or any(affine.rank or affine.scale_kind == "tril" for affine in affines)


def test_points_keep_their_dtype_and_log_dets_stay_float32(example, autocast):
    x = points(example)
    expected, expected_log_det = example.forward_and_log_det(x)
    with autocast:
        y, log_det = example.forward_and_log_det(x)
        assert torch.equal(example(x), y)
        x_again, inverse_log_det = example.inverse_and_log_det(y)
        assert torch.equal(example.inverse(y), x_again)
    assert {y.dtype, log_det.dtype, x_again.dtype, inverse_log_det.dtype} == {torch.float32}
    if example.constant_log_det or not has_matrix_products(example):
        assert torch.equal(log_det, expected_log_det)
    assert torch.equal(y, expected) == (not has_matrix_products(example))
    torch.testing.assert_close(y, expected, rtol=4 * EPSILON, atol=4 * EPSILON)
    torch.testing.assert_close(x_again, x, rtol=8 * EPSILON, atol=8 * EPSILON)
    for ours, theirs in zip((x_again, inverse_log_det), example.inverse_and_log_det(y), strict=True):
        assert has_network(example) or torch.equal(ours, theirs)  # a solve is not a product


def test_half_precision_points_are_upcast(example, autocast):
    x = points(example, torch.bfloat16)
    expected = example.forward_and_log_det(x.float())[1]
    with autocast:
        y, log_det = example.forward_and_log_det(x)
        again, inverse_log_det = example.inverse_and_log_det(context=None, y=y)
    assert torch.equal(example.forward_and_log_det(x=x.float())[1], expected)
    assert (y.dtype, again.dtype) == (torch.bfloat16, torch.bfloat16)
    assert (log_det.dtype, inverse_log_det.dtype) == (torch.float32, torch.float32)
    if example.constant_log_det or not has_matrix_products(example):
        assert torch.equal(log_det, expected)


def test_float64_points_stay_in_float64(example, autocast):
    bijector = example.double()
    x = points(bijector, torch.float64)
    expected = bijector.forward_and_log_det(x)
    with autocast:
        found = bijector.forward_and_log_det(x)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("dim", [4, LARGEST_UNPACKED + 1])
@pytest.mark.parametrize("scale", ["tril", "diag"])
def test_affine_map_lowers_its_products_and_their_gradients(dim, scale, autocast):
    draws = torch.Generator().manual_seed(0)
    affine = LowRankAffine(dim, 2, scale, factor_scale=0.3, generator=draws)
    x = torch.randn(32, dim, generator=draws)
    results = []
    for mixed in (False, True):
        affine.zero_grad()
        argument = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            y, log_det = affine.forward_and_log_det(argument)
        (y.square().mean() + log_det.mean()).backward()
        gradients = [argument.grad, *(parameter.grad for parameter in affine.parameters())]
        assert {gradient.dtype for gradient in gradients} == {torch.float32}
        results.append([y, *(gradient.clone() for gradient in gradients)])
        assert torch.equal(log_det, affine.forward_and_log_det(x)[1])
    for ours, theirs in zip(results[1], results[0], strict=True):
        error = float(((ours - theirs).norm() / theirs.norm()).detach())
        assert 1e-5 < error < 2 * EPSILON
    y = results[0][0]
    with autocast:  # with a large V, bfloat16 products would lose all digits
        again = affine.inverse(y)
        assert torch.equal(affine.inv.inverse(x), affine(x))
    assert torch.equal(again, affine.inverse(y))


def flow_of(base=None):
    draws = torch.Generator().manual_seed(0)
    affines = [LowRankAffine(DIM, 1, factor_scale=0.5, shift_scale=0.5, generator=draws) for _ in range(2)]
    return Flow(StandardNormal(DIM) if base is None else base, affines[0] | SmoothPReLU(0.5) | affines[1])


def test_flow_log_prob_has_full_precision_and_samples_keep_their_dtype(autocast):
    gaussian = LowRankMultivariateNormal(torch.zeros(DIM), torch.randn(DIM, 2), torch.ones(DIM))
    for flow in (flow_of(), flow_of(gaussian), Flow(Normal(torch.zeros(DIM), torch.ones(DIM)), Exp())):
        y = flow.sample((20,), generator=torch.Generator().manual_seed(2))
        x = flow.base.rsample((20,), torch.Generator().manual_seed(4))
        of_base = flow.base.log_prob(x)
        expected = flow.rsample_and_log_prob((20,), generator=torch.Generator().manual_seed(3))
        with autocast:
            assert torch.equal(flow.base.rsample((20,), torch.Generator().manual_seed(4)), x)
            assert torch.equal(flow.base.sample((20,), torch.Generator().manual_seed(4)), x)
            assert torch.equal(flow.base.log_prob(x), of_base)
            log_prob = flow.log_prob(y)
            x, again = flow.inverse_and_log_prob(y)
            sample = flow.sample((20,), generator=torch.Generator().manual_seed(2))
            pair = flow.rsample_and_log_prob((20,), generator=torch.Generator().manual_seed(3))
            of_half = flow.log_prob(y.bfloat16())
            by_distribution = flow.distribution().log_prob(y)
        assert {t.dtype for t in (log_prob, x, again, sample, *pair, of_half)} == {torch.float32}
        assert torch.equal(log_prob, flow.log_prob(y))
        assert torch.equal(log_prob, again)
        assert torch.equal(log_prob, by_distribution)
        assert torch.equal(of_half, flow.log_prob(y.bfloat16().float()))
        for ours, theirs in zip((sample, *pair), (y, *expected), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=8 * EPSILON, atol=8 * EPSILON)


def test_a_users_bijector_ignores_autocast(autocast):
    class Rotation(Bijector):
        event_dim = 1

        def __init__(self):
            super().__init__()
            self.register_buffer("matrix", torch.linalg.qr(torch.randn(DIM, DIM))[0])

        def forward_and_log_det(self, x, context=None):
            return x @ self.matrix, x.new_zeros(x.shape[:-1])

        def inverse_and_log_det(self, y, context=None):
            return torch.linalg.solve(self.matrix.mT @ torch.eye(DIM), y.mT).mT, y.new_zeros(y.shape[:-1])

    rotation, x = Rotation(), torch.randn(5, DIM)
    matrix = torch.randn(DIM, DIM)
    inline = Inline(lambda x, matrix: x @ matrix, event_dim=1, matrix=matrix)
    expected = (rotation | Tanh()).inv(torch.tanh(x)), inline.forward_and_log_det(x)
    with autocast:
        assert torch.equal((rotation | Tanh()).inv(torch.tanh(x)), expected[0])
        assert all(map(torch.equal, inline.forward_and_log_det(x), expected[1]))


def test_flow_compiles_inside_autocast(autocast):
    flow, y = flow_of(), torch.randn(6, DIM)
    with autocast:
        compiled = torch.compile(flow.bijector.forward_and_log_det, fullgraph=True, backend="eager")(y)
        for ours, theirs in zip(compiled, flow.bijector.forward_and_log_det(y), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_product_equals_torch_autocast(autocast):
    x, triangle = torch.randn(7, 5), torch.randn(5, 5).tril()
    exact, unpacked, packed = x @ triangle.mT, TriangularScale(triangle), PackedScale(pack_triangular(triangle), 5)
    with autocast:
        lowered = unpacked.multiply(x)
        assert lowered.dtype == torch.float32
        assert torch.equal(lowered, (x @ triangle.mT).float())
        assert packed.multiply(x).dtype == torch.float32
        assert not torch.equal(packed.multiply(x), exact)
        with full_precision(x):
            assert torch.equal(unpacked.multiply(x), exact)
            torch.testing.assert_close(packed.multiply(x), exact)
    assert torch.equal(unpacked.multiply(x), exact)
    assert PackedScale(packed.packed.to("meta"), 5).multiply(x.to("meta")).shape == (7, 5)


def test_gradients_survive_a_use_without_gradients(autocast):
    """autocast keeps the cast of a parameter until its context ends."""
    affine, x = LowRankAffine(4, 2, weighted=True), torch.randn(3, 4)
    with autocast:
        with torch.no_grad():
            affine(x)
        affine(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in affine.parameters())
