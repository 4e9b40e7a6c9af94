"""The bounds of a VAE are ordered and right: against the closed form of probabilistic PCA."""

import math

import pytest
import torch
from torch import nn

from flowlab import Flow, StandardNormal
from flowlab.bijectors import LU, ActNorm, Amortized
from flowlab.vae import VAE, Bernoulli, Gaussian, active_units, build_posterior, build_vae, estimate_bounds

LATENT, PIXELS, NOISE = 3, 5, 0.7


class LinearGaussian:
    """Probabilistic PCA: x = loading z + shift + noise, whose log p(x) and posterior are Gaussians in closed form."""

    def __init__(self):
        draws = torch.Generator().manual_seed(0)
        self.loading = torch.randn(PIXELS, LATENT, generator=draws, dtype=torch.float64)
        self.shift = torch.randn(PIXELS, generator=draws, dtype=torch.float64)
        covariance = self.loading @ self.loading.mT + NOISE**2 * torch.eye(PIXELS, dtype=torch.float64)
        self.distribution = torch.distributions.MultivariateNormal(self.shift, covariance)
        self.x = self.distribution.sample((20,))
        precision = torch.eye(LATENT, dtype=torch.float64) + self.loading.mT @ self.loading / NOISE**2
        self.posterior_covariance = torch.linalg.inv(precision)
        self.to_mean = self.posterior_covariance @ self.loading.mT / NOISE**2  # of x - shift

    @property
    def log_prob(self):
        return self.distribution.log_prob(self.x)

    def vae(self, posterior):
        decoder = nn.Linear(LATENT, PIXELS)
        vae = VAE(nn.Identity(), decoder, posterior, likelihood=Gaussian(NOISE)).double()
        with torch.no_grad():
            decoder.weight.copy_(self.loading)
            decoder.bias.copy_(self.shift)
            vae.likelihood.log_scale.fill_(math.log(NOISE))
        return vae

    def exact_posterior(self):
        """The posterior itself, in the parameters of an amortised LU: a triangle and a shift that is linear in x."""
        amortized = Amortized(LU(LATENT), PIXELS).double()
        root = torch.linalg.cholesky(self.posterior_covariance)
        scale, mean = root.diagonal(), -self.to_mean @ self.shift
        with torch.no_grad():
            # L U = root: the lower factor has ones on its diagonal, and the upper one is the diagonal matrix.
            amortized.bijector.factors.copy_((root / scale).tril(-1))
            amortized.bijector.log_diagonal.copy_(scale.log())
            amortized.bijector.shift.copy_(mean)
            amortized.weight[-LATENT:] = self.to_mean
        return Flow(StandardNormal(LATENT), amortized)


@pytest.fixture(scope="module")
def linear():
    torch.manual_seed(0)
    return LinearGaussian()


def test_the_exact_posterior_attains_log_p_with_every_draw(linear):
    bounds = estimate_bounds(linear.vae(linear.exact_posterior()), linear.x, draws=2)
    torch.testing.assert_close(bounds.elbo, linear.log_prob)
    torch.testing.assert_close(bounds.log_prob, linear.log_prob)
    assert bounds.standard_error.max() < 1e-6
    torch.testing.assert_close(bounds.effective, torch.full_like(bounds.effective, 2.0))


def test_importance_weights_estimate_log_p_within_their_standard_errors(linear):
    vae = linear.vae(build_posterior(LATENT, PIXELS))
    with torch.no_grad():  # the mean is right, and the standard deviations are those of the exact posterior's diagonal
        gaussian = vae.posterior.bijector
        gaussian.weight[LATENT:] = linear.to_mean
        gaussian.bijector.shift.copy_(-linear.to_mean @ linear.shift)
        gaussian.bijector.log_scale.copy_(linear.posterior_covariance.diagonal().log() / 2)
    bounds = estimate_bounds(vae, linear.x, draws=20_000)
    errors = (bounds.log_prob - linear.log_prob) / bounds.standard_error
    assert errors.abs().max() < 3.5
    assert 0.5 < errors.square().mean().sqrt() < 1.6, "the standard errors have the right size"
    # KL(q || p) in closed form: with equal diagonals of the covariances.
    covariance = linear.posterior_covariance
    precision = torch.linalg.inv(covariance)
    trace = (precision.diagonal() * covariance.diagonal()).sum()
    gap = 0.5 * (trace - LATENT + covariance.logdet() - covariance.diagonal().log().sum())
    assert gap > 0.1
    torch.testing.assert_close(bounds.elbo, linear.log_prob - gap, atol=0.1, rtol=0)


@pytest.mark.parametrize("draws", [2, 30])
def test_the_elbo_is_never_above_the_importance_weighted_bound(linear, draws):
    bounds = estimate_bounds(linear.vae(build_posterior(LATENT, PIXELS, "planar", depth=2)), linear.x, draws)
    assert (bounds.elbo <= bounds.log_prob).all()
    assert (bounds.gap > 0.01).any()


def test_more_draws_tighten_the_bound(linear):
    vae = linear.vae(build_posterior(LATENT, PIXELS))
    means = [float(estimate_bounds(vae, linear.x, draws).log_prob.mean()) for draws in (2, 30, 3000)]
    assert means[0] < means[1] < means[2] < float(linear.log_prob.mean()) + 0.1


def train_posterior(vae, x, steps=600):
    """Train the posterior alone; return its mean ELBO over x in nats."""
    vae.decoder.requires_grad_(False)
    vae.likelihood.requires_grad_(False)
    draws, optimizer = torch.Generator().manual_seed(1), torch.optim.Adam(vae.posterior.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        vae.loss(x, vae.draw_noise(x, draws)).backward()
        optimizer.step()
        schedule.step()
    return float(estimate_bounds(vae, x, draws=2000).elbo.mean())


def test_a_trained_full_covariance_attains_the_bound_and_a_diagonal_does_not(linear):
    exact = float(linear.log_prob.mean())
    full = train_posterior(linear.vae(build_posterior(LATENT, PIXELS, covariance="full")), linear.x)
    diagonal = train_posterior(linear.vae(build_posterior(LATENT, PIXELS)), linear.x)
    assert full == pytest.approx(exact, abs=0.05)
    # The best diagonal Gaussian has the diagonal of the precision: its KL is half the log of this ratio.
    covariance = linear.posterior_covariance
    gap = 0.5 * float(covariance.logdet() + torch.linalg.inv(covariance).diagonal().log().sum())
    assert gap > 0.25
    assert diagonal == pytest.approx(exact - gap, abs=0.05)


# Noise, likelihood and units


def test_grey_levels_are_drawn_anew_and_binary_pixels_stay():
    uniforms = torch.rand(10_000, 3, generator=torch.Generator().manual_seed(0))
    seen = Bernoulli().observe(torch.tensor([0.0, 0.25, 1.0]).expand(10_000, 3), uniforms)
    assert seen[:, 0].sum() == 0
    assert seen[:, 2].sum() == 10_000
    assert float(seen[:, 1].mean()) == pytest.approx(0.25, abs=0.02)


def test_the_bernoulli_likelihood_sums_log_probabilities():
    logits = torch.tensor([0.0, 2.0])
    expected = math.log(0.5) + math.log(1 / (1 + math.exp(2.0)))
    assert float(Bernoulli().log_prob(torch.tensor([1.0, 0.0]), logits)) == pytest.approx(expected)
    whole = sum(
        math.exp(float(Bernoulli().log_prob(torch.tensor([a, b]), logits))) for a in (0.0, 1.0) for b in (0.0, 1.0)
    )
    assert whole == pytest.approx(1.0)


def test_a_gaussian_scale_must_be_positive():
    with pytest.raises(ValueError, match="scale=0.0 must be positive and finite"):
        Gaussian(0.0)


def test_noise_decides_the_loss():
    vae, x = build_vae(pixels=6, latent=2, hidden=[8]), torch.rand(4, 6)
    first, again, other = (vae.draw_noise(x, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(vae.loss(x, first), vae.loss(x, again))
    assert not torch.equal(vae.loss(x, first), vae.loss(x, other))
    assert first.shape == (4, 2 + 6)


def gradient(vae, x, noise, loss=None):
    """The loss, and its gradient by the parameters of the encoder and the posterior."""
    value = vae.loss(x, noise) if loss is None else loss
    parameters = [*vae.encoder.parameters(), *vae.posterior.parameters()]
    parts = torch.autograd.grad(value, parameters, materialize_grads=True, allow_unused=True)
    return value.detach(), torch.cat([part.flatten() for part in parts])


def test_the_path_gradient_vanishes_at_the_exact_posterior(linear):
    """Not only its mean: the gradient of each minibatch."""
    vae = linear.vae(linear.exact_posterior())
    noise = vae.draw_noise(linear.x, torch.Generator().manual_seed(0)).double()
    full_value, full = gradient(vae, linear.x, noise)
    vae.gradient = "path"
    path_value, path = gradient(vae, linear.x, noise)
    assert torch.equal(full_value, path_value)
    assert path.norm() < 1e-10 < 0.1 < full.norm()


@pytest.mark.parametrize("flow", ["planar", "iaf", "realnvp"])
def test_the_path_gradient_leaves_out_the_gradient_of_log_q_at_fixed_z(flow):
    settings = {"pixels": PIXELS, "latent": LATENT, "hidden": [7], "context": 4, "flow": flow, "options": {"depth": 2}}
    vae = build_vae(**settings).double()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():  # away from the start, where a context changes nothing
        for parameter in vae.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype))
    x = torch.bernoulli(torch.full((20, PIXELS), 0.5, dtype=torch.float64), generator=draws)
    noise = vae.draw_noise(x, draws)
    full_value, full = gradient(vae, x, noise)
    vae.gradient = "path"
    path_value, path = gradient(vae, x, noise)
    z, _ = vae.posterior.push_forward(noise[:, :LATENT], vae.encoder(x))
    _, left_out = gradient(vae, x, noise, vae.posterior.log_prob(z.detach(), vae.encoder(x)).mean())
    assert torch.equal(full_value, path_value)
    torch.testing.assert_close(full - path, left_out, rtol=1e-5, atol=1e-7)
    assert left_out.norm() > 1e-3


def test_a_gradient_of_another_name_is_refused():
    with pytest.raises(ValueError, match="gradient='paht'.*did you mean 'path'"):
        VAE(nn.Linear(2, 2), nn.Linear(2, 2), build_posterior(2, 2), gradient="paht")
    with pytest.raises(ValueError, match="gradient='paht'.*did you mean 'path'"):
        build_vae(pixels=4, gradient="paht")


def test_collapsed_units_are_counted(linear):
    posterior = linear.exact_posterior()
    vae = linear.vae(posterior)
    assert active_units(vae, linear.x).tolist() == [True, True, True]
    with torch.no_grad():
        posterior.bijector.weight[-1] = 0.0  # the mean of the last coordinate no longer depends on x
    assert active_units(vae, linear.x).tolist() == [True, True, False]


def test_too_few_draws_are_refused(linear):
    with pytest.raises(ValueError, match="draws=1: must be at least 2"):
        estimate_bounds(linear.vae(build_posterior(LATENT, PIXELS)), linear.x, draws=1)


def test_the_prior_may_be_a_flow():
    prior = Flow(StandardNormal(2), ActNorm(2))
    with torch.no_grad():
        prior.bijector.shift.fill_(3.0)
    vae = VAE(nn.Linear(6, 4), nn.Identity(), build_posterior(2, 4), prior, Gaussian())
    assert float(vae.sample(2000, torch.Generator().manual_seed(0)).mean()) == pytest.approx(3.0, abs=0.1)
    x = torch.rand(3, 2)
    vae.encoder = nn.Linear(2, 4)
    vae.loss(x, vae.draw_noise(x)).backward()
    assert prior.bijector.shift.grad.abs().sum() > 0
