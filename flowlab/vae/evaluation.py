"""How good a variational autoencoder is: the ELBO, importance-weighted log p(x), and the units that it uses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flowlab.distributions.base import as_points
from flowlab.seeding import generator
from flowlab.vae.model import VAE

POINTS = 10_000  # draws of z that are decoded at once
ROWS = 500  # observations at once
ACTIVE = 0.01  # the variance over the data above which a unit counts as active


@dataclass(frozen=True)
class Bounds:
    """Two lower bounds of log p(x) for each observation, from the same draws; in nats, of shape (n,).

    Attributes:
        elbo: the evidence lower bound.
        log_prob: log of the mean importance weight. Its mean grows with the number of draws, up to log p(x).
        standard_error: the standard error of `log_prob`, by the delta method; it means little where a few weights
            dominate.
        effective: the effective number of draws, (sum w)^2 / sum w^2.
    """

    elbo: Tensor
    log_prob: Tensor
    standard_error: Tensor
    effective: Tensor

    @property
    def gap(self) -> Tensor:
        """log p(x) - ELBO, estimated: how far the posterior is from the true one, KL(q || p(z | x))."""
        return self.log_prob - self.elbo


@torch.no_grad()
def estimate_bounds(vae: VAE, x: Any, draws: int = 1000, seed: int = 0) -> Bounds:
    """The ELBO and the importance-weighted log p(x) of observations, from `draws` draws of z for each.

    The observations are taken as they are: binarize grey levels first. The draws are made in chunks, each from a stream
    of its own, so the memory that it takes does not grow with their number.

    Arguments:
        vae: the model.
        x: observations of shape (n, d), as a tensor, an array or a DataFrame.
        draws: K, the number of draws for each.
        seed: the seed of the draws.

    Raises:
        ValueError: draws below 2.

    Reference:
        | Importance Weighted Autoencoders (Yuri Burda, Roger Grosse, Ruslan Salakhutdinov, 2016)
        | https://arxiv.org/abs/1509.00519
    """
    if draws < 2:
        raise ValueError(f"draws={draws!r}: must be at least 2")
    x = _as_observations(vae, x)
    parts = [_bounds_of(vae, rows, draws, seed, place) for place, rows in enumerate(x.split(ROWS))]
    return Bounds(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _as_observations(vae: VAE, x: Any) -> Tensor:
    """Rows as a tensor on the device and in the dtype of a model."""
    return as_points(x, vae.posterior.anchor).to(vae.posterior.anchor)


def _bounds_of(vae: VAE, x: Tensor, draws: int, seed: int, place: int) -> tuple[Tensor, ...]:
    most = max(1, POINTS // len(x))
    log_weights = []
    for number, begin in enumerate(range(0, draws, most)):
        own = generator(seed, f"importance {place}", number, x.device)
        noise = vae.posterior.base.rsample((min(most, draws - begin),), own, x.shape[:1])
        log_weights.append(vae.log_weights(x, noise).double())
    logs = torch.cat(log_weights)
    log_prob = logs.logsumexp(0) - math.log(draws)
    effective = (2 * logs.logsumexp(0) - (2 * logs).logsumexp(0)).exp()
    # The variance of the mean of w, relative to its square: sum w^2 / (sum w)^2 - 1 / K, up to K / (K - 1).
    error = ((1 / effective - 1 / draws).clamp_min(0) * draws / (draws - 1)).sqrt()
    return logs.mean(0), log_prob, error, effective


@torch.no_grad()
def active_units(vae: VAE, x: Any, draws: int = 64, seed: int = 0, threshold: float = ACTIVE) -> Tensor:
    """Which latent coordinates the data move: those whose posterior mean varies over x by more than a threshold.

    A coordinate that is not active has collapsed onto the prior: the decoder ignores it. The noise of the means, whose
    variance is known from the draws, is subtracted.

    Arguments:
        vae: the model.
        x: observations of shape (n, d), as a tensor, an array or a DataFrame.
        draws: the draws of z for each, from which its mean is estimated.
        seed: the seed of the draws.
        threshold: the threshold of the variance over the observations.

    Returns: booleans of shape (latent,).

    Reference:
        | Importance Weighted Autoencoders (Yuri Burda, Roger Grosse, Ruslan Salakhutdinov, 2016)
        | https://arxiv.org/abs/1509.00519
    """
    x = _as_observations(vae, x)
    z = vae.encode(x, draws, generator(seed, "active units", 0, x.device)).double()
    return z.mean(0).var(0) - z.var(0).mean(0) / draws > threshold
