"""Variational autoencoders whose posterior is a flow.

`build_vae(pixels=64, flow="iaf")` makes one, `flowlab.fit(vae, images)` trains it, and `estimate_bounds` gives its ELBO
and its importance-weighted log likelihood. `VAE` puts one together from modules of your own.
"""

from flowlab.vae.build import build_vae, load_vae, save_vae
from flowlab.vae.evaluation import Bounds, active_units, estimate_bounds
from flowlab.vae.images import Images, load_images
from flowlab.vae.likelihoods import Bernoulli, Gaussian, Likelihood
from flowlab.vae.model import VAE
from flowlab.vae.posterior import build_posterior

__all__ = [
    "VAE",
    "Bernoulli",
    "Bounds",
    "Gaussian",
    "Images",
    "Likelihood",
    "active_units",
    "build_posterior",
    "build_vae",
    "estimate_bounds",
    "load_images",
    "load_vae",
    "save_vae",
]
