"""The low-rank affine map against dense linear algebra, and maps prepared together for a training step."""

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flowlab import Flow, StandardNormal
from flowlab.bijectors import AffineScalar, Chain, LowRankAffine, PReLU, SmoothPReLU, fill_triangular, stages
from flowlab.bijectors.compose import prepare
from flowlab.bijectors.linear.low_rank_affine import LARGEST_DIM, InvertedAffine


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


@pytest.mark.parametrize(("dim", "rank"), [(3, 2), (10, 2), (10, 5), (16, 1)])
@pytest.mark.parametrize("scale", ["tril", "diag"])
def test_inverse_is_as_exact_as_a_dense_solve_where_the_triangle_is_nearly_singular(dim, rank, scale):
    ours, dense = [], []
    for seed in range(50):
        draws = torch.Generator().manual_seed(seed)
        affine = LowRankAffine(dim, rank, scale, factor_scale=1.0, shift_scale=1.0, generator=draws)
        with torch.no_grad():
            affine.scale.normal_(generator=draws)
            x = torch.randn(20, dim, generator=draws)
            y, forward_log_det = affine.forward_and_log_det(x)
            back, log_det = affine.inverse_and_log_det(y)
            known = torch.linalg.solve(affine.dense(), (y - affine.shift).mT).mT
        exact = torch.linalg.slogdet(affine.dense().double())[1].expand(20)
        torch.testing.assert_close(forward_log_det.double(), exact, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(-log_det, forward_log_det)
        ours.append(float((back - x).abs().max()))
        dense.append(float((known - x).abs().max()))
    assert max(ours) <= 2 * max(dense)
    assert sorted(ours)[25] <= 2 * sorted(dense)[25]


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


KINDS = {
    "full": lambda dim: {"rank": dim},
    "no update": lambda dim: {"rank": 0},
    "weighted diagonal": lambda dim: {"rank": 1, "scale": "diag", "weighted": True},
}


def make_flow(dim, kind="full", activation=SmoothPReLU, dtype=torch.float64, final_affine=True):
    generator = torch.Generator().manual_seed(dim)
    parts = []
    for _ in range(3):
        affine = LowRankAffine(dim, **KINDS[kind](dim), factor_scale=0.5, shift_scale=0.5, generator=generator)
        with torch.no_grad():
            affine.scale.add_(0.1 * torch.randn(affine.scale.shape, generator=generator))
        parts += [affine, activation()]
    end = [AffineScalar(shift=torch.full((dim,), 3.0), scale=torch.full((dim,), 2.0))] if final_affine else []
    return Flow(StandardNormal(dim), Chain([*parts[:-1], *end])).to(dtype)


class LogProb(torch.nn.Module):
    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, y):
        return self.flow.prepared().log_prob(y)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, LARGEST_DIM + 1])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", [SmoothPReLU, PReLU])
def test_prepared_flow_has_same_density_and_gradients(dim, kind, activation, dtype):
    flow = make_flow(dim, kind, activation, dtype)
    y = 3 * torch.randn(40, dim, dtype=dtype)
    y[0, 0] = torch.inf
    results = []
    for log_prob in (flow.log_prob(y), flow.prepared().log_prob(y)):
        flow.zero_grad()
        log_prob[1:].mean().backward()
        results.append((log_prob.detach(), torch.cat([p.grad.flatten() for p in flow.parameters()])))
    tolerance = {torch.float32: 2e-3, torch.float64: 1e-10}[dtype]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert results[1][0][0] == -torch.inf


def test_affine_maps_of_equal_shape_are_inverted_together(monkeypatch):
    together = []
    real = LowRankAffine.prepare.__func__

    def counted(cls, many):
        together.append(len(many))
        return real(cls, many)

    monkeypatch.setattr(LowRankAffine, "prepare", classmethod(counted))
    small, large = [LowRankAffine(2) for _ in range(3)], LowRankAffine(LARGEST_DIM + 1)
    prepared = prepare([small[0], PReLU(), small[1], LowRankAffine(2, 1), small[2], large, small[0].inv])
    assert together == [3, 1, 1]
    kinds = [type(each).__name__ for each in prepared]
    assert kinds == ["InvertedAffine", "PReLU", *["InvertedAffine"] * 3, "LowRankAffine", "Invert"]


@pytest.mark.parametrize("shape", [(2,), (7, 2), (4, 7, 2)])
def test_prepared_map_equals_original_map(shape):
    affine = LowRankAffine(2, 2, factor_scale=0.5, shift_scale=0.5).double()
    x = torch.randn(shape, dtype=torch.float64)
    y, log_det = affine.forward_and_log_det(x)
    for bijector, sign in ((affine, 1), (affine.inv, -1)):
        (prepared,) = prepare([bijector])
        there, back = (prepared.forward_and_log_det, prepared.inverse_and_log_det)[::sign]
        for value, expected in ((there(x), (y, log_det)), (back(y), (x, -log_det))):
            torch.testing.assert_close(value[0], expected[0])
            torch.testing.assert_close(value[1].expand(shape[:-1]), expected[1])


def test_constant_log_det_is_summed_over_larger_events():
    """An event is a matrix of 2 rows, each mapped by the same affine map."""
    base = Independent(Normal(torch.zeros(2, 3), torch.ones(2, 3)), 2)
    affine = LowRankAffine(3, 1, factor_scale=0.5)
    for bijector in (affine, affine.inv, affine | SmoothPReLU()):
        flow = Flow(base, bijector).double()
        y = flow.sample((4,))
        torch.testing.assert_close(flow.prepared().log_prob(y), flow.log_prob(y))
        torch.testing.assert_close(flow.prepared().push_forward(y)[1], flow.push_forward(y)[1])


def test_prepared_push_forward_equals_original():
    flow = make_flow(2)
    x = torch.randn(5, 2, dtype=torch.float64)
    for ours, theirs in zip(flow.prepared().push_forward(x), flow.push_forward(x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_prepared_flow_works_under_vmap_tracing_and_compile():
    flow = make_flow(2)
    y = torch.randn(6, 2, dtype=torch.float64)
    expected, module = flow.log_prob(y), LogProb(flow)
    state = module.state_dict()
    stacked = {name: torch.stack([value, value]) for name, value in state.items()}
    both = vmap(lambda state: functional_call(module, state, (y,)))(stacked)
    torch.testing.assert_close(both[1], expected)
    traced = make_fx(lambda state, y: functional_call(module, state, (y,)))(state, y)
    torch.testing.assert_close(traced(state, y), expected)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y), expected)


@pytest.mark.parametrize("dim", [2, 5])
def test_autocast_lowers_points_but_not_log_dets(dim):
    flow = make_flow(dim, "weighted diagonal", dtype=torch.float32, final_affine=False)
    y = torch.randn(40, dim)
    exact = [each.inverse_and_log_det(y) for each in prepare(stages(flow.bijector))]
    with torch.autocast("cpu", torch.bfloat16):
        prepared = prepare(stages(flow.bijector))
        lowered = [each.inverse_and_log_det(y) for each in prepared]
        log_prob = flow.prepared().log_prob(y)
    assert isinstance(prepared[0], InvertedAffine)
    for (x, log_det), (_, expected) in zip(lowered, exact, strict=True):
        assert (x.dtype, log_det.dtype) == (torch.float32, torch.float32)
        assert torch.equal(log_det, expected)
    assert not torch.equal(lowered[0][0], exact[0][0])
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, flow.log_prob(y), rtol=0.02, atol=0.02)
