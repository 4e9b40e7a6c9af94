"""Many points, a block at a time."""

import pytest
import torch
from torch.distributions import Normal
from torch.fx.experimental.proxy_tensor import make_fx

from flowlab import Flow, blocks
from flowlab.bijectors import AffineScalar, Exp, Softplus
from flowlab.bijectors.blocks import in_blocks, may_look


@pytest.mark.parametrize("shape", [(1,), (64,), (1000,), (1000, 3), (10, 500)])
def test_blocks_are_small_and_all_there(monkeypatch, shape):
    monkeypatch.setattr(blocks, "NUMBERS_PER_THREAD", 256)
    points, sizes = torch.randn(shape), []

    def work(block):
        sizes.append(block.numel())
        return 2 * block

    assert torch.equal(in_blocks(work, points), 2 * points)
    # No fewer than 64 rows: a part of a processor's vector would be rounded otherwise than a whole one.
    assert max(sizes) <= max(256, 64 * points[0].numel())
    assert sum(sizes) == points.numel()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_numbers_are_looked_at_only_where_they_are():
    seen = []

    def look(points):
        seen.append(may_look(points))
        return points + 1

    points = torch.zeros(3)
    look(points)
    with torch.no_grad():
        torch.vmap(look)(points)
        make_fx(look)(points)
        make_fx(look, tracing_mode="symbolic")(points)
        torch.jit.trace(look, points, check_trace=False)  # the check calls it untraced
        look(points.to("meta"))
        torch.func.jvp(look, (points,), (points,))
        assert not any(seen)
        look(points)
    assert seen[-1]


def normal():
    return Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


def many_layers(scale=2.0):
    return Exp() | AffineScalar(-1.0, scale) | Softplus() | AffineScalar(scale=-1.0)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("flowlab.bijectors.blocks.NUMBERS_PER_THREAD", 64)


@pytest.mark.parametrize("outside", [(), (3.0,), (torch.nan, -torch.inf), (torch.inf, 1.0, -1e-45)])
def test_blocks_give_the_same_density(small_blocks, outside):
    """Without gradients points are scored in blocks, and those that are all inside need no verdict on each."""
    flow = Flow(normal(), many_layers()).double()
    y = flow.sample((1000,))
    y[500 : 500 + len(outside)] = torch.tensor(outside)
    at_once = flow.log_prob(y).detach()
    with torch.no_grad():
        in_blocks = flow.log_prob(y)
    torch.testing.assert_close(in_blocks, at_once, rtol=1e-14, atol=1e-14)
    assert at_once.isneginf().sum() == len(outside)


def test_blocks_give_the_same_samples(small_blocks):
    flow = Flow(normal(), many_layers()).double()
    with_blocks = flow.sample((1000,), generator=torch.Generator().manual_seed(0))
    at_once = flow.rsample((1000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(with_blocks, at_once, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("shape", [(300,), (2, 300), (300, 1)])
def test_no_block_parts_what_a_parameter_tells_apart(small_blocks, shape):
    scale = torch.linspace(1.0, 2.0, 300, dtype=torch.float64)
    scale = scale[:, None] if shape[-1] == 1 else scale
    flow = Flow(normal(), many_layers(scale)).double()
    y = flow.bijector(torch.randn(shape, dtype=torch.float64))
    with torch.no_grad():
        assert torch.equal(flow.log_prob(y), flow.pull_back(y, [s.inverse_and_log_det for s in flow.bijector.parts]))


def test_without_gradients_too_nothing_looks_at_numbers_that_are_not_there(small_blocks):
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
        call = make_fx(lambda state, y: torch.func.functional_call(flow, state, y), tracing_mode="fake")
        torch.testing.assert_close(call(state, -torch.ones_like(y))(state, y), expected, rtol=1e-14, atol=1e-14)
        stacked = {name: torch.stack([value, value]) for name, value in state.items()}
        both = torch.vmap(lambda state: torch.func.functional_call(flow, state, y))(stacked)
        torch.testing.assert_close(both[1], expected, rtol=1e-14, atol=1e-14)
