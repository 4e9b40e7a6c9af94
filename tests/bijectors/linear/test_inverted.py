"""A prepared flow, whose affine maps are inverted together, has the density and gradients of the original flow."""

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from flowlab import Flow, StandardNormal
from flowlab.bijectors import AffineScalar, Chain, LowRankAffine, PReLU, SmoothPReLU, stages
from flowlab.bijectors.compose import prepare
from flowlab.bijectors.linear.inverted import LARGEST_DIM, InvertedAffine

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
