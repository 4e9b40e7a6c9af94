"""Inline bijectors: module parameters, optional contexts, broadcast batches."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from flowlab import Flow
from flowlab.bijectors import Inline, Tanh


def test_module_can_be_a_parameter():
    inline = Inline(
        lambda x, context, net: x + net(context),
        lambda y, context, net: y - net(context),
        event_dim=1,
        net=nn.Linear(3, 2),
    ).double()
    assert {name for name, _ in inline.named_parameters()} == {"net.weight", "net.bias"}
    x, context = torch.randn(5, 2, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    y, log_det = inline.forward_and_log_det(x, context)
    torch.testing.assert_close(y, x + inline.net(context))
    torch.testing.assert_close(log_det, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    y.sum().backward()
    assert inline.net.weight.grad.any()


def test_a_function_gets_the_context_only_if_it_takes_one():
    inline = Inline(torch.exp, lambda y, context: y.log() + 0 * context.sum(), lambda x, **others: x)
    x, context = torch.randn(4, 1), torch.randn(4, 2)
    y, log_det = inline.forward_and_log_det(x, context)
    assert torch.equal(y, x.exp())
    assert torch.equal(log_det, x)
    torch.testing.assert_close(inline.inverse(y, context), x)


@pytest.mark.parametrize("shape", [(2,), (4, 2), (7, 4, 2)])
def test_points_and_contexts_are_broadcast_to_one_batch(shape):
    seen = []

    def forward(x, context):
        seen.append((tuple(x.shape), tuple(context.shape)))
        return x + torch.cat([x, context], -1).sum(-1, keepdim=True)

    inline = Inline(forward, event_dim=1)
    y, log_det = inline.forward_and_log_det(torch.zeros(shape), torch.ones(4, 3))
    batch = torch.broadcast_shapes(shape[:-1], (4,))
    assert seen[-1] == ((*batch, 2), (*batch, 3))
    assert (y.shape, log_det.shape) == ((*batch, 2), batch)
    torch.testing.assert_close(log_det.exp(), torch.full(batch, 3.0))  # det(I + ones)


def test_a_parameter_cannot_be_called_context():
    with pytest.raises(ValueError, match="'context'"):
        Inline(lambda x: x, context=1.0)


CONSTANT = torch.tensor([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Inline(lambda x, scale: scale * x, lambda y, scale: y / scale, scale=nn.Parameter(CONSTANT.clone())),
        lambda: Inline(lambda x: x + CONSTANT, lambda y: y - CONSTANT),
        lambda: Inline(lambda x: x + CONSTANT, lambda y: y - CONSTANT).inv,
        lambda: Inline(lambda x: x + CONSTANT, lambda y: y - CONSTANT) | Tanh(),
    ],
)
def test_tensors_of_a_function_are_part_of_the_batch(make):
    flow = Flow(Normal(0.0, 1.0), make())
    assert flow.batch_shape() == (3,)
    samples = flow.sample((2000,))
    assert samples.shape == flow.log_prob(samples).shape == (2000, 3)
    assert (torch.corrcoef(samples.T) - torch.eye(3)).abs().max() < 0.15


def test_a_tensor_of_a_function_may_be_as_long_as_many_points():
    """No method cuts the points into blocks, which such a tensor would not fit."""
    along = torch.randn(2**18 + 1)
    shift = Inline(lambda x: x + along, lambda y: y - along)
    with torch.no_grad():
        y, log_det = shift.forward_and_log_det(torch.zeros(len(along)))
        assert torch.equal(y, along)
        assert not shift.inverse(y).any()
        assert log_det.shape == Flow(Normal(0.0, 1.0), shift).log_prob(y).shape == along.shape
