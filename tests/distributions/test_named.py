"""Named distributions against torch's and scipy's."""

import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import RelaxedOneHotCategorical

from flowlab.distributions import Gumbel, GumbelSoftmax, LogNormal
from flowlab.distributions.base import GumbelDifferences

PAIRS = {
    "LogNormal": (
        LogNormal,
        torch.distributions.LogNormal,
        lambda a, b: scipy.stats.lognorm(b, scale=torch.tensor(a).exp()),
    ),
    "Gumbel": (Gumbel, torch.distributions.Gumbel, scipy.stats.gumbel_r),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (-0.5, 0.3), (1.0, 1.7)])
def test_equals_torch_and_scipy(name, loc, scale):
    ours, theirs, known = PAIRS[name][0](loc, scale).double(), PAIRS[name][1](loc, scale), PAIRS[name][2](loc, scale)
    loc, scale = (torch.tensor(value).double() for value in (loc, scale))  # the flow stores them rounded to float32
    y = torch.tensor(known.ppf([1e-4, 0.1, 0.5, 0.9, 0.9999]))
    distribution = ours.distribution()
    torch.testing.assert_close(ours.log_prob(y), theirs.log_prob(y), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.log_prob(y), torch.tensor(known.logpdf(y)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(distribution.cdf(y), torch.tensor(known.cdf(y)), rtol=1e-5, atol=1e-6)
    samples = ours.sample((20_000,))
    assert scipy.stats.kstest(samples.numpy(), known.cdf).pvalue > 1e-3


@pytest.mark.parametrize("make", [LogNormal, Gumbel])
def test_batches_and_parameters(make):
    loc, scale = nn.Parameter(torch.tensor([0.0, 1.0, -1.0])), nn.Parameter(torch.tensor([[0.5], [2.0]]))
    flow = make(loc, scale)
    assert (flow.distribution().batch_shape, flow.distribution().event_shape) == ((2, 3), ())
    y = flow.rsample((5,))
    assert y.shape == (5, 2, 3)
    assert len({round(number, 4) for number in y.flatten().tolist()}) == 30, "noise is independent in the batch"
    y.sum().backward()
    assert loc.grad.abs().min() > 0
    assert scale.grad.abs().min() > 0
    assert {id(parameter) for parameter in flow.parameters()} == {id(loc), id(scale)}


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_gumbel_softmax_equals_torch(temperature, classes):
    logits = torch.randn(classes, dtype=torch.float64)
    theirs = RelaxedOneHotCategorical(torch.tensor(temperature, dtype=torch.float64), logits=logits)
    ours = GumbelSoftmax(torch.tensor(temperature, dtype=torch.float64), logits)
    assert ours.distribution().event_shape == (classes,)
    y = torch.distributions.Dirichlet(torch.ones(classes, dtype=torch.float64)).sample((50,))
    torch.testing.assert_close(ours.log_prob(y), theirs.log_prob(y), rtol=1e-5, atol=1e-5)
    mine, other = ours.sample((5000,)), theirs.sample((5000,))
    for k in range(classes):
        assert scipy.stats.ks_2samp(mine[:, k].numpy(), other[:, k].numpy()).pvalue > 1e-3


def test_gumbel_softmax_has_gradients_to_logits_and_temperature():
    logits, temperature = nn.Parameter(torch.tensor([[0.0, 1.0, -1.0]] * 2)), nn.Parameter(torch.tensor(0.7))
    flow = GumbelSoftmax(temperature, logits)
    assert (flow.distribution().batch_shape, flow.distribution().event_shape) == ((2,), (3,))
    y, log_prob = flow.rsample_and_log_prob((4,))
    torch.testing.assert_close(log_prob, flow.log_prob(y), rtol=1e-3, atol=1e-3)
    y.square().sum().backward()
    for parameter in (logits, temperature):
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
    flow.zero_grad()
    flow.log_prob(y.detach()).sum().backward()
    assert logits.grad.abs().max() > 0
    assert {id(parameter) for parameter in flow.parameters()} == {id(logits), id(temperature)}
    flow.double()
    assert flow.sample((1,)).dtype == torch.float64


def test_gumbel_softmax_at_low_temperature_draws_classes():
    logits = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    counts = GumbelSoftmax(0.01, logits).sample((20_000,)).argmax(-1).bincount(minlength=3)
    assert scipy.stats.chisquare(counts.numpy(), 20_000 * logits.softmax(0).numpy()).pvalue > 1e-3


def test_gumbel_differences_integrate_to_one_and_match_their_samples():
    logits = torch.tensor([0.5, -1.0, 0.3], dtype=torch.float64)
    base = GumbelDifferences(logits)
    axis = torch.linspace(-30, 30, 1201, dtype=torch.float64)
    density = base.log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert density.sum().item() * 0.05**2 == pytest.approx(1.0, abs=1e-6)
    # The difference of two Gumbel variables is logistic.
    samples = base.sample((20_000,))
    for k in range(2):
        known = scipy.stats.logistic(loc=(logits[k] - logits[2]).item())
        assert scipy.stats.kstest(samples[:, k].numpy(), known.cdf).pvalue > 1e-3
    torch.testing.assert_close(base.mean, logits[:2] - logits[2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogNormal(scale=0.0), "LogNormal: scale=0.0"),
        (lambda: Gumbel(scale=torch.tensor([1.0, -1.0])), "Gumbel: scale=.*must be positive"),
        (lambda: GumbelSoftmax(-1.0, torch.zeros(3)), "GumbelSoftmax: temperature=-1.0"),
        (lambda: GumbelSoftmax(torch.ones(2), torch.zeros(3)), "must be one number"),
        (lambda: GumbelSoftmax(1.0, torch.zeros(1)), r"\(1,\).*K >= 2"),
    ],
)
def test_bad_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
