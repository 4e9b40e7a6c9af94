"""Posteriors of every architecture follow their context, and mistakes are named."""

import pytest
import torch

from flowlab import ConfigError, StandardNormal
from flowlab.config.registry import names
from flowlab.seeding import generator
from flowlab.vae import build_posterior, build_vae

SMALL = {"depth": 2, "hidden": [8]}
FLOWS = {  # an architecture of each kind: those with a context of their own, and those without
    "planar": {"depth": 2},
    "radial": {"depth": 2},
    "smooth_prelu": {"depth": 2},
    "iaf": SMALL,
    "maf": SMALL,
    "realnvp": SMALL,
    "nsf": SMALL,
}


def move(posterior):
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in posterior.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draws))
    return posterior.double()


@pytest.mark.parametrize("flow", FLOWS)
def test_a_posterior_of_any_architecture_follows_its_context_and_has_its_density(flow):
    posterior = move(build_posterior(2, 3, flow, **FLOWS[flow]))
    context = torch.randn(4, 3, dtype=torch.float64)
    noise = posterior.rsample_base((50,), context, torch.Generator().manual_seed(1))
    z, log_q = posterior.push_forward(noise, context)
    assert z.shape == (50, 4, 2)
    torch.testing.assert_close(posterior.log_prob(z, context), log_q, rtol=1e-6, atol=1e-6)
    for number in range(4):
        alone, log_alone = posterior.push_forward(noise[:, number], context[number])
        torch.testing.assert_close(z[:, number], alone)
        torch.testing.assert_close(log_q[:, number], log_alone)
    same = noise[:, :1].expand_as(noise)
    assert (posterior.push_forward(same, context)[0].std(1) > 0.01).all(), "contexts give different posteriors"


def test_the_flow_itself_follows_the_context_too():
    """Not its Gaussian alone: without the last affine map, images still differ by context."""
    for flow in ("planar", "realnvp"):
        posterior = move(build_posterior(2, 3, flow, depth=2))
        inner = posterior.bijector.bijectors[0] if hasattr(posterior.bijector, "bijectors") else posterior.bijector
        x = torch.randn(1, 2, dtype=torch.float64).expand(4, 2)
        assert (inner(x, torch.randn(4, 3, dtype=torch.float64)).std(0) > 0.001).any()


@pytest.mark.parametrize(
    "settings", [{}, {"covariance": "full"}, {"flow": "iaf"} | SMALL], ids=["diagonal", "full", "iaf"]
)
def test_a_posterior_starts_with_unit_scale_and_means_that_differ(settings):
    """Or else z says nothing about x at first, and the decoder learns to ignore it. The seed decides the means."""
    posteriors = [build_posterior(4, 32, generator=generator(seed, "start"), **settings) for seed in (0, 0, 1)]
    context = torch.randn(1000, 32, generator=torch.Generator().manual_seed(0))
    first, same, other = (each.push_forward(torch.zeros(4), context) for each in posteriors)
    assert torch.equal(first[0], same[0])
    assert not torch.equal(first[0], other[0])
    torch.testing.assert_close(first[0].std(0), torch.full((4,), 2**0.5), rtol=0.5, atol=0)
    torch.testing.assert_close(first[1], StandardNormal(4).log_prob(torch.zeros(4)).expand(1000))


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_gaussians_have_the_stated_covariance(covariance):
    posterior = move(build_posterior(2, 3, covariance=covariance))
    z = posterior.sample((200_000,), torch.ones(3).double(), torch.Generator().manual_seed(0))
    correlation = float(torch.corrcoef(z.mT)[0, 1])
    assert abs(correlation) < 0.01 if covariance == "diagonal" else abs(correlation) > 0.03
    normal = torch.distributions.MultivariateNormal(z.mean(0), torch.cov(z.mT))
    expected = normal.log_prob(z[:100])
    torch.testing.assert_close(posterior.log_prob(z[:100], torch.ones(3).double()), expected, atol=0.05, rtol=0)


def test_a_posterior_samples_in_one_pass_where_its_architecture_can():
    for flow in ("iaf", "maf"):
        assert all(each.forward_passes == 1 for each in build_posterior(4, 2, flow, **SMALL).bijector.applied())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"covariance": "dense"}, "covariance='dense'"),
        ({"flow": "iff"}, "flow=iff"),
        ({"flow": "iaf", "depht": 3}, "depht"),
        ({"depth": 3}, "depth: is a setting of a flow; give its name"),
        ({"latent": 0}, "latent=0: must be at least 1"),
    ],
)
def test_mistake_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_posterior(**{"latent": 2, "context": 3} | settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pixel": 3}, "pixel: no such key; did you mean 'pixels'"),
        ({"pixels": 0}, "pixels=0: must be at least 1"),
        ({"pixels": 4, "hidden": [0]}, r"hidden=\[0\]: must be at least 1"),
        ({"pixels": 4, "flow": "nothing"}, "flow=nothing"),
    ],
)
def test_mistake_in_a_setting_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_vae(**settings)


def test_the_kinds_of_architecture_are_covered():
    assert {"planar_radial", "mlp", "coupling", "autoregressive"} <= set(names("flow"))
