"""Approximate posteriors: Gaussians and flows whose parameters follow a context."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch

from flowlab.bijectors import LU, ActNorm, Amortized, Chain
from flowlab.config.compose import compose
from flowlab.config.errors import ConfigError, did_you_mean
from flowlab.distributions.base import Base, StandardNormal
from flowlab.flow import Flow
from flowlab.flows._assemble import assemble
from flowlab.flows.base import Architecture

GAUSSIANS = {"diagonal": ActNorm, "full": LU}  # the affine map that gives a Gaussian of this covariance


def build_architecture(flow: str | Architecture, **settings: Any) -> Architecture:
    """The settings of an architecture for a posterior: it computes samples in one pass, if it has the choice.

    Arguments:
        flow: a name, as in `flow=iaf` on the command line, or the settings themselves.
        settings: settings of a name that differ from its defaults, as `depth=4`.

    Raises:
        ConfigError: there is no such flow or setting, or a value is out of range.
    """
    if isinstance(flow, Architecture):
        return replace(flow, **settings)  # type: ignore[type-var]
    words = [f"flow.{name}={value}" for name, value in settings.items()]
    made = compose(f"flow={flow}", *words).flow
    can_choose = "fast" not in settings and any(each.name == "fast" for each in fields(made))
    return replace(made, fast="samples") if can_choose else made


def build_posterior(
    latent: int,
    context: int,
    flow: str | Architecture | None = None,
    *,
    covariance: str = "diagonal",
    generator: torch.Generator | None = None,
    **settings: Any,
) -> Flow:
    r"""q(z | c): noise goes through a flow, and then through an affine map whose numbers the context gives.

    z = A(c) f(eps; c) + m(c), with A diagonal or dense. Without f this is a Gaussian with mean m and covariance A A^T.
    With f, which starts at the identity for most architectures, it starts at that Gaussian. So the flow works on noise
    of unit scale for every context. Planar layers and affine autoregressive layers behind the affine map describe the
    same distributions as before it.

    At the start A is the identity, and m is a random linear map (He et al., 2015). If all means were equal at the
    start, z would say nothing about x, and the decoder would learn to ignore it.

    Arguments:
        latent: the length of z.
        context: the length of c.
        flow: the architecture of f, by name or as settings; None is the identity. An architecture that takes no context
            is made to follow it, see `flowlab.bijectors.Amortized`.
        covariance: "diagonal" or "full", of the Gaussian.
        generator: draws the initial parameters.
        settings: settings of the architecture, as `depth=4`.

    Raises:
        ConfigError: the architecture or a setting cannot be used.

    Reference:
        | Variational Inference with Normalizing Flows (Danilo Rezende, Shakir Mohamed, 2015)
        | https://arxiv.org/abs/1505.05770
        | Improving Variational Inference with Inverse Autoregressive Flow (Diederik Kingma, Tim Salimans, Rafal
        | Jozefowicz, Xi Chen, Ilya Sutskever, Max Welling, 2016)
        | https://arxiv.org/abs/1606.04934
        | Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet Classification (Kaiming He,
        | Xiangyu Zhang, Shaoqing Ren, Jian Sun, 2015)
        | https://arxiv.org/abs/1502.01852

    Example:
        >>> import torch
        >>> from flowlab.vae import build_posterior
        >>> posterior = build_posterior(2, 3, "planar", depth=4)
        >>> posterior.rsample((5,), torch.zeros(7, 3)).shape
        torch.Size([5, 7, 2])
    """
    if covariance not in GAUSSIANS:
        raise ConfigError(f"covariance={covariance!r}: {did_you_mean(covariance, list(GAUSSIANS))}")
    for name, length in (("latent", latent), ("context", context)):
        if length < 1:
            raise ConfigError(f"{name}={length!r}: must be at least 1")
    gaussian = Amortized(GAUSSIANS[covariance](latent), context)
    with torch.no_grad():
        torch.nn.init.kaiming_normal_(gaussian.weight_of("shift"), nonlinearity="relu", generator=generator)
    if flow is None:
        if settings:
            raise ConfigError(f"{next(iter(settings))}: is a setting of a flow; give its name, as in flow='iaf'")
        return Flow(StandardNormal(latent), gaussian)
    architecture = build_architecture(flow, **settings)
    given = (context,) if architecture.takes_context else None
    made = assemble(architecture, (latent,), given, generator)
    inner = made.bijector if architecture.takes_context else Amortized(made.bijector, context)
    base: Base = made.base
    return Flow(base, Chain([inner, gaussian]))
