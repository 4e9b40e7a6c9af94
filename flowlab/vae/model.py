"""A variational autoencoder: an encoder, a posterior that is a flow, a prior, a decoder and a likelihood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn

from flowlab.config.errors import ConfigError, did_you_mean
from flowlab.distributions.base import Base, StandardNormal
from flowlab.flow import Flow
from flowlab.objectives._score import along_path
from flowlab.vae.likelihoods import Bernoulli, Likelihood

GRADIENTS = ("full", "path")


class VAE(nn.Module):
    r"""p(x) = int p(x | z) p(z) dz, with a posterior q(z | c(x)) that the encoder's context c steers.

    ELBO(x) = E_q [log p(x | z) + log p(z) - log q(z | c)] <= log p(x), by as much as KL(q || p(z | x)).

    Its `loss` needs random numbers, which `draw_noise` makes. `flowlab.fit` draws them from the seed and the step
    alone: a training that resumes, or that is part of a stack, sees the same ones.

    Arguments:
        encoder: from x of shape (*, d) to a context of shape (*, c).
        decoder: from z of shape (*, latent) to the numbers that the likelihood takes.
        posterior: a flow of vectors with a context, such as from `build_posterior`.
        prior: a flow or a base without a context; None is a standard normal.
        likelihood: the likelihood of x for the decoder's numbers; None is Bernoulli.
        gradient: "full", or "path" for the path-derivative gradient of the ELBO, also called sticking the landing. Both
            have the same mean. The nearer the posterior is to the true one, the less noise the path gradient has. It
            takes one more pass of the inverse, or latent + 1 more of the forward direction where the inverse is slow.

    Raises:
        ConfigError: there is no such gradient.

    Reference:
        | Auto-Encoding Variational Bayes (Diederik Kingma, Max Welling, 2014)
        | https://arxiv.org/abs/1312.6114
        | Variational Inference with Normalizing Flows (Danilo Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
        | Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference (Geoffrey Roeder,
        | Yuhuai Wu, David Duvenaud, 2017)
        | https://arxiv.org/abs/1703.09194

    Example:
        >>> import torch
        >>> from flowlab.vae import VAE, build_posterior
        >>> vae = VAE(torch.nn.Linear(4, 3), torch.nn.Linear(2, 4), build_posterior(2, 3))
        >>> x = torch.ones(5, 4)
        >>> vae.loss(x, vae.draw_noise(x)).shape, vae.sample(3).shape
        (torch.Size([]), torch.Size([3, 4]))
    """

    settings: Any = None  # what `build_vae` built it from

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        posterior: Flow,
        prior: Flow | Base | None = None,
        likelihood: Likelihood | None = None,
        gradient: str = "full",
    ) -> None:
        super().__init__()
        if gradient not in GRADIENTS:
            raise ConfigError(f"gradient={gradient!r}: {did_you_mean(gradient, GRADIENTS)}")
        (self.latent,) = posterior.event_shape
        self.encoder, self.decoder, self.posterior = encoder, decoder, posterior
        self.prior = StandardNormal(self.latent) if prior is None else prior
        self.likelihood = Bernoulli() if likelihood is None else likelihood
        self.gradient = gradient

    def draw_noise(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """The random numbers of `loss`: for each row of x the posterior's noise, then uniform ones for x."""
        noise = self.posterior.base.rsample((), generator, x.shape[:-1])
        return torch.cat([noise, torch.rand(x.shape, generator=generator, dtype=noise.dtype, device=x.device)], -1)

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """-ELBO in nats, of one draw for each row of x, averaged over the rows; of shape ()."""
        own, uniforms = noise.split([self.latent, noise.shape[-1] - self.latent], -1)
        x = self.likelihood.observe(x, uniforms)
        context = self.encoder(x)
        z, log_q = self.posterior.push_forward(own, context)
        if self.gradient == "path":
            log_q = along_path(self.posterior, own, z, log_q, context)
        return -self._log_weights(x, z, log_q).mean()

    def log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        """log w = log p(x | z) + log p(z) - log q(z | x), in nats, at the z of given noise.

        The mean of log w is the ELBO, and the log of the mean of w is an estimate of log p(x).

        Arguments:
            x: observations of shape (n, d).
            noise: points of the posterior's base, of shape (*, n, latent).

        Returns: a tensor of shape (*, n).
        """
        return self._log_weights(x, *self.posterior.push_forward(noise, self.encoder(x)))

    def _log_weights(self, x: Tensor, z: Tensor, log_q: Tensor) -> Tensor:
        return self.likelihood.log_prob(x, self.decoder(z)) + self.prior.log_prob(z) - log_q

    def encode(self, x: Tensor, draws: int = 1, generator: Generator | None = None) -> Tensor:
        """Draws of z from the posteriors of x of shape (n, d); of shape (draws, n, latent)."""
        return self.posterior.rsample((draws,), self.encoder(x), generator)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """The mean of the likelihood at one draw from each posterior; of shape (n, d)."""
        return self.likelihood.mean(self.decoder(self.encode(x, 1, generator)[0]))

    @torch.no_grad()
    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """The means of the likelihood at draws from the prior; of shape (count, d)."""
        return self.likelihood.mean(self.decoder(self.prior.rsample((count,), generator=generator)))
