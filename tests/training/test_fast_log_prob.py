"""The log density of the training step is the flow's own, and so are its gradients."""

import pytest
import torch

from flowlab.config.compose import compose
from flowlab.flows.mlp import build_flow
from flowlab.seeding import generator
from flowlab.bijectors.compose import prepare, stages
from flowlab.bijectors.linear.inverted import LARGEST_DIM


@pytest.mark.parametrize("dim", [2, 5, LARGEST_DIM + 1])
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["flow=prelu"],
        ["flow.rank=0"],
        ["flow.scale=diag", "flow.weighted=true"],
        ["flow.depth=1", "flow.slope=vector"],
    ],
    ids=" ".join,
)
def test_equals_the_flow(dim, words, dtype):
    flow = build_flow(compose(*words).flow, dim, generator(0, "start"), dtype=dtype)
    place = torch.full((dim,), 3.0), torch.full((dim,), 2.0)
    for standardize in (None, place):
        flow = build_flow(compose(*words).flow, dim, generator(0, "start"), standardize, dtype)
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


@pytest.mark.parametrize("dim", [2, 5])
def test_inside_autocast_points_are_lowered_and_log_dets_are_not(dim):
    flow = build_flow(compose("flow.weighted=true").flow, dim, generator(0, "start"))
    y = torch.randn(40, dim)
    exact = [each.inverse_and_log_det(y) for each in prepare(stages(flow.bijector))]
    with torch.autocast("cpu", torch.bfloat16):
        lowered = [each.inverse_and_log_det(y) for each in prepare(stages(flow.bijector))]
        log_prob = flow.prepared().log_prob(y)
    for (x, log_det), (_, expected) in zip(lowered, exact, strict=True):
        assert (x.dtype, log_det.dtype) == (torch.float32, torch.float32)
        assert torch.equal(log_det, expected)
    assert not torch.equal(lowered[0][0], exact[0][0])
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, flow.log_prob(y), rtol=0.02, atol=0.02)
