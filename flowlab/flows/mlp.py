"""The flows that a configuration can name, built from their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import Tensor, nn

from flowlab.bijectors import AffineScalar, Bijector, Chain, LowRankAffine, PReLU, Sigmoid, SmoothPReLU, Tanh, stages
from flowlab.bijectors.linear.triangular import pack_triangular
from flowlab.config.custom import construct
from flowlab.config.schemas import ConfigError, CustomConfig, FlowConfig
from flowlab.distributions.base import StandardNormal
from flowlab.flow import Flow
from flowlab.seeding import torch_seeded

COVERING = 10_000  # samples of the base, by which a start is placed over the data
BYTES_PER_LAYER = 10_000  # of the modules themselves, as measured
NUMBERS_PER_PARAMETER = 4  # the parameter, its gradient and Adam's two moments

SATURATING: dict[str, type[Bijector]] = {"tanh": Tanh, "sigmoid": Sigmoid}  # which have nothing to learn


def build_flow(
    config: FlowConfig | CustomConfig,
    dim: int,
    generator: torch.Generator | None = None,
    standardize: tuple[Tensor, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Flow:
    """The flow of a configuration for points of `dim` coordinates, with a standard normal base.

    Arguments:
        config: its numbers. Where its start is "covering", `cover_` is still to be called with the data.
        dim: coordinates of a point.
        generator: where the start is drawn from.
        standardize: mean and standard deviation of the data, each of shape (dim,); they become the last, fixed,
            bijector, so that densities are in the units of the data.
        dtype: of all parameters.

    Raises:
        ConfigError: a rank above the dimension, a start that does not fit the last layer, or more parameters than fit
            into memory.
    """
    check_flow(config, dim, dtype)
    with _drawn_in_single_precision():
        flow = custom_flow(config, dim, generator) if isinstance(config, CustomConfig) else mlp(config, dim, generator)
        if standardize is not None:
            mean, deviation = standardize
            flow = Flow(flow.base, flow.bijector | AffineScalar(shift=mean, scale=deviation))
        return flow.to(dtype)


@contextmanager
def _drawn_in_single_precision() -> Iterator[None]:
    """A start is the same numbers in both precisions, and whatever torch's default is where it is called."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


def check_flow(config: FlowConfig | CustomConfig, dim: int, dtype: torch.dtype = torch.float32) -> None:
    """Refuse what cannot be built, before anything is.

    Raises:
        ConfigError: as in build_flow.
    """
    if isinstance(config, CustomConfig):
        return  # it is known when it is built
    if config.rank > dim:
        raise ConfigError(
            f"flow.rank={config.rank}: must be at most the dimension of the target, {dim}; use flow.rank={dim}"
        )
    if config.start == "covering" and config.final_activation:
        raise ConfigError(
            "flow.start=covering: places the last affine map over the data, so that it must be the last layer; "
            "use flow.final_activation=false"
        )
    parameters = count_parameters(config, dim)
    needed = parameters * NUMBERS_PER_PARAMETER * dtype.itemsize + config.depth * BYTES_PER_LAYER
    available = psutil.virtual_memory().available
    if needed > available:
        remedy = "use flow.scale=diag, " if config.scale == "tril" else ""
        raise ConfigError(
            f"flow.depth={config.depth}: for the {dim} columns of the target the flow would have {parameters:,} "
            f"parameters and training would take {needed / 1e9:,.1f} GB where {available / 1e9:,.1f} GB are free: "
            f"{remedy}pick columns with target.columns or lower flow.depth"
        )


def count_parameters(config: FlowConfig, dim: int) -> int:
    """How many numbers a flow learns, or a few more."""
    scale = dim * (dim + 1) // 2 if config.scale == "tril" else dim
    return config.depth * (scale + dim * (config.rank + 2))


def mlp(config: FlowConfig, dim: int, generator: torch.Generator | None = None) -> Flow:
    """Affine maps with an activation between: the documents' flow, shaped like a fully connected network.

    Reference:
        | Normalizing Flows Tutorial, Part 1: Distributions and Determinants (Eric Jang, 2018)
        | https://blog.evjang.com/2018/01/nf1.html
    """
    parts: list[Bijector] = []
    for _ in range(config.depth):
        affine = LowRankAffine(
            dim,
            config.rank,
            config.scale,
            config.weighted,
            factor_scale=0.5,
            shift_scale=0.5,
            generator=generator,
        )
        parts.append(affine)
        parts.append(_activation(config, dim))
    chain = Chain(parts if config.final_activation else parts[:-1])
    if config.start == "glorot":
        glorot_uniform_(chain, generator)
    return Flow(StandardNormal(dim), chain)


def custom_flow(config: CustomConfig, dim: int, generator: torch.Generator | None = None) -> Flow:
    """The flow of a class of the user's own, a Bijector or a Flow.

    Its start is drawn from the generator, whether its constructor asks for one or draws from torch's own.

    Raises:
        ConfigError: it cannot be built, cannot be trained or scored, or is of points of other dimensions.
    """
    with torch_seeded(generator):
        made = construct(config, dim=dim, generator=generator)
    flow = made if isinstance(made, Flow) else Flow(StandardNormal(dim), made)
    where = f"flow._target_={config._target_}"
    if (shape := tuple(flow.distribution().event_shape)) != (dim,):
        raise ConfigError(f"{where}: is of points of shape {shape}; those of the target have shape {(dim,)}")
    if not any(parameter.requires_grad for parameter in flow.parameters()):
        raise ConfigError(f"{where}: has no parameters to train")
    if not flow.bijector.has_inverse:
        raise ConfigError(f"{where}: has no inverse, so that it cannot score points")
    return flow


def layers(config: FlowConfig | CustomConfig) -> int:
    """How many affine maps a flow has, by which its time and memory are judged; of one of the user's own, as one."""
    return 1 if isinstance(config, CustomConfig) else config.depth


def _activation(config: FlowConfig, dim: int) -> Bijector:
    if config.activation in SATURATING:
        return SATURATING[config.activation]()
    size = dim if config.slope == "vector" else None
    if config.activation == "prelu":
        return PReLU(config.slope_start, size, config.positive)
    return SmoothPReLU(config.slope_start, size, config.positive, config.smoothness)


def glorot_uniform_(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw every parameter from U(-limit, limit), limit = sqrt(6 / (fan in + fan out)): the documents' start.

    A matrix has its two sides as fans, a vector its length twice, a number 1 twice: TensorFlow's default, by which the
    documents' variables started.

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
    """Place the last affine map so that the image of the flow covers points, with a tenth to spare.

    Coordinate by coordinate, the interval between the quartiles of what enters the map, when samples of the base come
    from the left, is sent to the range of the points, and is stretched further for as long as a point has no density:
    a chain with a bounded activation has a bounded image, and gives none to what lies outside.

    Arguments:
        flow: whose last layer, but for a fixed standardization, is a LowRankAffine.
        points: of shape (n, dim), in the units of the data.
        generator: where the samples of the base are drawn from.

    Raises:
        ConfigError: the points cannot be covered: the bounded activations before the map have no precision left.
    """
    layers = stages(flow.bijector)
    place = max(number for number, layer in enumerate(layers) if isinstance(layer, LowRankAffine))
    affine, before = layers[place], Flow(flow.base, Chain(layers[: place + 1]))
    assert isinstance(affine, LowRankAffine)
    for layer in reversed(layers[place + 1 :]):
        points = layer.inverse(points)
    x = flow.base.rsample((COVERING,), generator)
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
        f"flow.start=covering: no stretch of the last of {len(layers)} layers makes the image of the flow cover the "
        "data, whose way back has no precision left; use a smaller flow.depth, dtype=float64 or another seed"
    )
