"""Initializations that depend on more than one layer, or on the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowlab.bijectors import Chain, LowRankAffine, pack_triangular, stages
from flowlab.config.errors import ConfigError
from flowlab.flow import Flow

BASE_SAMPLES = 10_000


def glorot_uniform_(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw every parameter from U(-limit, limit), limit = sqrt(6 / (fan in + fan out)): Jang's initialization.

    The fans are as in TensorFlow, whose default this was. A matrix has its two sizes, a vector has its length twice,
    and a number has 1 twice.

    Reference:
        | Understanding the difficulty of training deep feedforward neural networks (Xavier Glorot, Yoshua Bengio, 2010)
        | https://proceedings.mlr.press/v9/glorot10a.html
    """
    with torch.no_grad():
        for parameter in module.parameters():
            fans = (tuple(parameter.shape) * 2 or (1, 1))[:2] if parameter.ndim < 2 else tuple(parameter.shape)
            limit = (6.0 / sum(fans)) ** 0.5
            parameter.uniform_(-limit, limit, generator=generator)


@torch.no_grad()
def cover_(flow: Flow, points: Tensor, generator: torch.Generator | None = None) -> None:
    """Set the last affine map such that the image of the flow covers points, and a tenth more on each side.

    A chain with a bounded activation has a bounded image, and points outside of it have density zero. The map sends the
    interquartile range of its inputs, for samples of the base, to the range of the points, coordinate by coordinate. It
    then stretches further until every point has a positive density.

    Arguments:
        flow: its last layer, or the last before a fixed standardization, is a LowRankAffine.
        points: of shape (n, dim), in the units of the data.
        generator: draws the samples of the base.

    Raises:
        ConfigError: the points cannot be covered: the bounded activations before the map have no precision left.
    """
    layers = stages(flow.bijector)
    place = max(number for number, layer in enumerate(layers) if isinstance(layer, LowRankAffine))
    affine, before = layers[place], Flow(flow.base, Chain(layers[: place + 1]))
    assert isinstance(affine, LowRankAffine)
    for layer in reversed(layers[place + 1 :]):
        points = layer.inverse(points)
    x = flow.base.rsample((BASE_SAMPLES,), generator)
    for layer in layers[:place]:
        x = layer.forward(x)
    (low, high), (least, greatest) = x.quantile(x.new_tensor([0.25, 0.75]), dim=0), points.aminmax(dim=0)
    middle, stretch = (least + greatest) / 2, (greatest - least) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)
    for factor in (1.2**power for power in range(30)):
        wide = factor * stretch
        affine.scale.copy_(wide if affine.scale_kind == "diag" else pack_triangular(wide.diag()))
        affine.shift.add_(middle - affine.forward((low + high) / 2))
        if before.log_prob(middle + 1.1 * (points - middle)).isfinite().all():
            return
    raise ConfigError(
        f"flow.initialization=covering: no stretch of the last of {len(layers)} layers makes the image of the flow "
        "cover the data, because the inverse has no precision left; use a smaller flow.depth, dtype=float64 or "
        "another seed"
    )
