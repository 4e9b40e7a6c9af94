"""Many points are mapped a block at a time, and give the same numbers."""

import pytest
import torch
from torch.distributions import Normal
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from flowlab import Flow
from flowlab import flow as module
from flowlab.bijectors import AffineScalar, Exp, Inline, Softplus
from flowlab.flow import map_blocks


@pytest.mark.parametrize("shape", [(1,), (64,), (1000,), (1000, 3), (10, 500)])
def test_blocks_are_small_and_cover_all_rows(monkeypatch, shape):
    monkeypatch.setattr(module, "NUMBERS_PER_THREAD", 256)
    points, sizes = torch.randn(shape), []

    def double(block):
        sizes.append(block.numel())
        return 2 * block

    assert torch.equal(map_blocks(double, points), 2 * points)
    # At least 64 rows: part of a processor's vector would be rounded differently.
    assert max(sizes) <= max(256, 64 * points[0].numel())
    assert sum(sizes) == points.numel()


def normal():
    return Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


def many_layers(scale=2.0):
    return Exp() | AffineScalar(-1.0, scale) | Softplus() | AffineScalar(scale=-1.0)


@pytest.fixture
def sizes(monkeypatch):
    """The sizes of the blocks that a flow maps, all small."""
    monkeypatch.setattr(module, "NUMBERS_PER_THREAD", 64)
    sizes = []

    def counted(function, points):
        def call(block):
            sizes.append(len(block))
            return function(block)

        return map_blocks(call, points)

    monkeypatch.setattr("flowlab.flow.map_blocks", counted)
    return sizes


@pytest.mark.parametrize("outside", [(), (3.0,), (torch.nan, -torch.inf), (torch.inf, 1.0, -1e-45)])
def test_blocks_give_the_same_density(sizes, outside):
    """Without gradients points are scored in blocks, and a block whose points are all inside is not checked again."""
    flow = Flow(normal(), many_layers()).double()
    y = flow.sample((1000,))
    y[500 : 500 + len(outside)] = torch.tensor(outside)
    at_once = flow.log_prob(y).detach()
    sizes.clear()
    with torch.no_grad():
        in_blocks = flow.log_prob(y)
    assert max(sizes) == 64
    torch.testing.assert_close(in_blocks, at_once, rtol=1e-14, atol=1e-14)
    assert at_once.isneginf().sum() == len(outside)


def test_blocks_give_the_same_samples(sizes):
    flow = Flow(normal(), many_layers()).double()
    in_blocks = flow.sample((1000,), generator=torch.Generator().manual_seed(0))
    assert max(sizes) == 64
    at_once = flow.rsample((1000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(in_blocks, at_once, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("shape", [(300,), (2, 300), (300, 1)])
def test_points_with_their_own_parameters_are_not_split(sizes, shape):
    scale = torch.linspace(1.0, 2.0, 300, dtype=torch.float64)
    scale = scale[:, None] if shape[-1] == 1 else scale
    flow = Flow(normal(), many_layers(scale)).double()
    y = flow.bijector(torch.randn(shape, dtype=torch.float64))
    with torch.no_grad():
        assert torch.equal(flow.log_prob(y), flow.prepared().log_prob(y))


def test_closure_over_a_tensor_of_the_batch_size_is_not_split(sizes):
    shift = torch.randn(300)
    flow = Flow(Normal(0.0, 1.0), Inline(lambda x: x + shift, lambda y: y - shift, sign=+1))
    y = torch.randn(300)
    with torch.no_grad():
        torch.testing.assert_close(flow.log_prob(y), Normal(0.0, 1.0).log_prob(y - shift))
    assert not sizes


def test_log_prob_without_gradients_works_under_vmap_compile_and_tracing(sizes):
    flow = Flow(normal(), many_layers()).double()
    y = torch.cat([flow.sample((100,)), torch.tensor([3.0, torch.nan], dtype=torch.float64)])
    torch._dynamo.reset()
    with torch.no_grad():
        expected = flow.log_prob(y)
        for log_prob in (
            torch.vmap(flow.log_prob),
            torch.compile(flow.log_prob, fullgraph=True, backend="eager"),
            make_fx(lambda y: flow.log_prob(y))(-torch.ones_like(y)),
        ):
            torch.testing.assert_close(log_prob(y), expected, rtol=1e-14, atol=1e-14)
        state = flow.state_dict()
        call = make_fx(lambda state, y: functional_call(flow, state, y), tracing_mode="fake")
        torch.testing.assert_close(call(state, -torch.ones_like(y))(state, y), expected, rtol=1e-14, atol=1e-14)
        stacked = {name: torch.stack([value, value]) for name, value in state.items()}
        both = torch.vmap(lambda state: functional_call(flow, state, y))(stacked)
        torch.testing.assert_close(both[1], expected, rtol=1e-14, atol=1e-14)
