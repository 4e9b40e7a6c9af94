"""A context has shape (*batch, c): shapes, independent noise, and broadcasting against points."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from flowlab import Flow, StandardNormal
from flowlab.bijectors import AffineScalar, Exp, Inline, LowRankAffine, SmoothPReLU

SHAPES = [(3,), (5, 3), (7, 5, 3)]


def net(outputs):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs))


def derived():
    """A shift and scale from the context; the log det comes from automatic differentiation."""
    return Inline(
        lambda x, context, net: x * net(context).exp() + context[..., :2],
        lambda y, context, net: (y - context[..., :2]) * (-net(context)).exp(),
        event_dim=1,
        net=net(2),
    )


def concatenating():
    """A coupling: the first coordinate and the context shift the second coordinate."""

    def shift(x, context, net):
        return torch.cat([torch.zeros_like(x[..., :1]), net(torch.cat([x[..., :1], context[..., 1:]], -1))], -1)

    return Inline(
        lambda x, context, net: x + shift(x, context, net),
        lambda y, context, net: y - shift(y, context, net),
        event_dim=1,
        net=net(1),
    )


def scalar():
    return Inline(
        lambda x, context: context[..., 0].exp() * x + context[..., 1],
        lambda y, context: (y - context[..., 1]) / context[..., 0].exp(),
        sign=+1,
    )


FLOWS = {
    "derived": lambda: Flow(StandardNormal(2), derived()),
    "concatenating": lambda: Flow(StandardNormal(2), LowRankAffine(2, 1) | concatenating() | SmoothPReLU()),
    "scalar": lambda: Flow(Normal(0.0, 1.0), scalar() | Exp()),
    "unused": lambda: Flow(StandardNormal(2), LowRankAffine(2, 1)),
    "batched base": lambda: Flow(Independent(Normal(torch.zeros(5, 2), torch.ones(5, 2)), 1), derived()),
}


@pytest.fixture(params=FLOWS)
def flow(request):
    return FLOWS[request.param]().double()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_shape_of_a_distribution_includes_the_contexts(flow, shape):
    context = torch.randn(shape, dtype=torch.float64)
    distribution = flow.distribution(context)
    batch = torch.broadcast_shapes(flow.batch_shape(), shape[:-1])
    assert (distribution.batch_shape, distribution.event_shape) == (batch, flow.event_shape)
    for sample_shape in ((), (4,), (2, 3)):
        for draw in (distribution.sample, distribution.rsample):
            sample = draw(sample_shape)
            assert sample.shape == (*sample_shape, *batch, *flow.event_shape)
            assert distribution.log_prob(sample).shape == (*sample_shape, *batch)
        sample, log_prob = flow.rsample_and_log_prob(sample_shape, context)
        torch.testing.assert_close(log_prob, flow.log_prob(sample, context), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_every_context_has_independent_noise(flow, shape):
    same = torch.zeros(shape, dtype=torch.float64)
    sample = flow.distribution(same).sample().flatten()
    assert len(set(sample.tolist())) == len(sample)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_log_prob_uses_the_context_of_each_point(flow, shape):
    context = torch.randn(shape, dtype=torch.float64)
    y = flow.distribution(context).sample((4,))
    log_prob = flow.log_prob(y, context)
    x, again = flow.inverse_and_log_prob(y, context)
    assert torch.equal(again, log_prob)
    contexts = context.expand(*log_prob.shape, 3)
    alone = Flow(StandardNormal(2) if flow.event_dim else Normal(0.0, 1.0), flow.bijector).double()  # one batch of each
    for place in torch.cartesian_prod(*map(torch.arange, log_prob.shape)).view(-1, log_prob.ndim).tolist():
        place = tuple(place)
        torch.testing.assert_close(alone.log_prob(y[place], contexts[place]), log_prob[place])
        torch.testing.assert_close(flow.bijector(x[place], contexts[place]), y[place])


def test_points_and_contexts_broadcast():
    flow = FLOWS["concatenating"]().double()
    y, context = torch.randn(7, 1, 2, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    log_prob = flow.log_prob(y, context)
    assert log_prob.shape == (7, 5)
    torch.testing.assert_close(log_prob[:, 2], flow.log_prob(y[:, 0], context[2]))
    torch.testing.assert_close(flow.log_prob(y[3, 0], context), log_prob[3])
    assert flow.log_prob(y[:0, 0], context[0]).shape == (0,)
    assert flow.log_prob(y[0, 0], context[:0]).shape == (0,)
    assert FLOWS["unused"]().log_prob(y.float(), context.float()).shape == (7, 5)


def test_automatic_log_det_equals_the_formula():
    flow = FLOWS["derived"]().double()
    y, context = torch.randn(4, 5, 2, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    bijector = flow.bijector
    expected = bijector.net(context).sum(-1).expand(4, 5)
    torch.testing.assert_close(bijector.forward_and_log_det(y, context)[1], expected)
    torch.testing.assert_close(bijector.inverse_and_log_det(y, context)[1], -expected)


def test_a_scalar_flow_has_quantiles_for_every_context():
    distribution = FLOWS["scalar"]().double().distribution(torch.randn(5, 3, dtype=torch.float64))
    u = torch.tensor([[0.1], [0.5], [0.9]], dtype=torch.float64)
    quantiles = distribution.icdf(u)
    assert quantiles.shape == (3, 5)
    torch.testing.assert_close(distribution.cdf(quantiles), u.expand(3, 5))


def test_mean_and_entropy_have_the_batch_of_the_context():
    distribution = FLOWS["unused"]().distribution(torch.zeros(7, 5, 3))
    assert distribution.mean.shape == (7, 5, 2)
    assert distribution.entropy().shape == (7, 5)


def test_context_of_wrong_shape_is_refused():
    flow = FLOWS["derived"]()
    with pytest.raises(ValueError, match=r"shape \(4, 3\): its batch \(4,\) does not broadcast.*batch \(5,\)"):
        flow.log_prob(torch.zeros(5, 2), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"context: a scalar.*use context\[None\]"):
        flow.sample((), torch.tensor(1.0))


def test_parameters_are_part_of_the_batch():
    shift = torch.tensor([0.0, 10.0, 20.0])
    flow = Flow(Normal(0.0, 1.0), AffineScalar(shift))
    distribution = flow.distribution()
    assert (distribution.batch_shape, distribution.event_shape) == ((3,), ())
    sample = distribution.sample((2000,))
    assert sample.shape == (2000, 3)
    assert (sample.T.corrcoef() - torch.eye(3)).abs().max() < 0.1, "their noise is correlated"
    assert flow.distribution(torch.zeros(5, 1, 4)).batch_shape == (5, 3)
    assert distribution.mean.tolist() == shift.tolist()
    assert Flow(StandardNormal(3), AffineScalar(shift)).distribution().batch_shape == ()
    assert Flow(StandardNormal(3), AffineScalar(torch.zeros(5, 3)).inv).distribution().batch_shape == (5,)
    base = Normal(torch.zeros(2, 1), torch.ones(2, 1))
    wide = Flow(base, SmoothPReLU(size=3)).sample((500,))
    assert wide.shape == (500, 2, 3)
    assert (wide.flatten(1).T.corrcoef() - torch.eye(6)).abs().max() < 0.3
