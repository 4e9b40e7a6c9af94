"""Many points, a block at a time."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from flowlab import blocks
from flowlab.blocks import in_blocks, may_look


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
