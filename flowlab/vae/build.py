"""Build a variational autoencoder from plain settings, so a file with its weights can hold them too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import nn

from flowlab.config.component import as_typed, setting
from flowlab.config.errors import ConfigError
from flowlab.config.paths import local_path
from flowlab.flows._assemble import assemble
from flowlab.seeding import generator, torch_seeded
from flowlab.system.files import read_checkpoint, write_checkpoint
from flowlab.vae.model import GRADIENTS, VAE
from flowlab.vae.posterior import build_architecture, build_posterior


@dataclass(frozen=True)
class Settings:
    """The settings of a variational autoencoder of vectors with a Bernoulli likelihood.

    Arguments:
        pixels: the length of an observation.
        latent: the length of z.
        hidden: the sizes of the encoder's hidden layers; the decoder has them backwards.
        context: the length of the encoder's output, which steers the posterior.
        flow: the posterior's flow, by name; None leaves a Gaussian.
        covariance: the covariance of the posterior's Gaussian, "diagonal" or "full".
        options: settings of the flow that differ from its defaults.
        prior: the prior's flow, by name; None is a standard normal.
        prior_options: settings of the prior's flow.
        gradient: "full" or "path", see `VAE`.
    """

    pixels: int = setting(minimum=1)
    latent: int = setting(8, minimum=1)
    hidden: list[int] = setting([128], minimum=1)
    context: int = setting(64, minimum=1)
    flow: str | None = None
    covariance: str = setting("diagonal", choices=("diagonal", "full"))
    options: dict[str, Any] = field(default_factory=dict)
    prior: str | None = None
    prior_options: dict[str, Any] = field(default_factory=dict)
    gradient: str = setting("full", choices=GRADIENTS)


def build_vae(*, seed: int = 0, **settings: Any) -> VAE:
    """Build a variational autoencoder; the seed decides its initial parameters.

    Arguments:
        seed: the seed of the initial parameters.
        settings: see `Settings`.

    Raises:
        ConfigError: a setting cannot be used.

    Example:
        >>> from flowlab.vae import build_vae
        >>> vae = build_vae(pixels=64, latent=2, flow="iaf", options={"depth": 2, "hidden": [16]})
        >>> vae.latent, vae.settings.flow
        (2, 'iaf')
    """
    chosen = as_typed(Settings, settings, "")
    draws = generator(seed, "start")
    sizes = [chosen.pixels, *chosen.hidden]
    with torch_seeded(draws.clone_state()):
        encoder = nn.Sequential(*_layers([*sizes, chosen.context]), nn.ReLU())
        decoder = nn.Sequential(*_layers([chosen.latent, *reversed(sizes)]))
    posterior = build_posterior(
        chosen.latent, chosen.context, chosen.flow, covariance=chosen.covariance, generator=draws, **chosen.options
    )
    prior = None
    if chosen.prior is not None:
        prior = assemble(build_architecture(chosen.prior, **chosen.prior_options), (chosen.latent,), None, draws)
    vae = VAE(encoder, decoder, posterior, prior, gradient=chosen.gradient)
    vae.settings = chosen
    return vae


def _layers(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers of these sizes, with a ReLU between two."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.ReLU()] if layers else []
        layers.append(nn.Linear(before, after))
    return layers


def save_vae(path: str | Path, vae: VAE) -> None:
    """Write the settings and all weights of a VAE from `build_vae` into one file, complete or not at all.

    Raises:
        ConfigError: the VAE was put together by hand, so its settings are not known.
        WriteError: the file cannot be written.
    """
    if vae.settings is None:
        raise ConfigError("save_vae: the VAE was not made by build_vae; use torch.save(vae.state_dict(), path)")
    weights = {name: tensor.detach().cpu().clone() for name, tensor in vae.state_dict().items()}
    write_checkpoint(Path(local_path("path", path)), {"vae": asdict(vae.settings), "state_dict": weights})


def load_vae(path: str | Path) -> VAE:
    """Read a VAE that `save_vae` wrote; nothing in the file is executed.

    Raises:
        ConfigError: there is no such file, it is damaged, or it holds something else.
    """
    place = Path(local_path("path", path))
    try:
        content = read_checkpoint(place)
        vae = build_vae(**content["vae"])
        vae.load_state_dict(content["state_dict"])
    except OSError as error:
        raise ConfigError(f"path={place}: cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, RuntimeError):  # ConfigError is a ValueError
        raise ConfigError(f"path={place}: is damaged, or was not written by save_vae; choose another file") from None
    return vae
