"""The architecture of both tutorials: affine maps with activations between them, like a fully connected network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.config.registry import register
from flowlab.flows.base import Architecture

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from flowlab.bijectors import Bijector
    from flowlab.flow import Flow
    from flowlab.targets.base import Batch


@register("flow", "mlp")
@dataclass(kw_only=True)
class MLP(Architecture):
    """A chain of `depth` affine maps with an activation after each, except after the last.

    Arguments:
        depth: number of affine maps, at most 10 000.
        rank: rank of each map's low-rank update; 0 means no update.
        scale: "tril", a triangular scale matrix, or "diag".
        weighted: learn D in M + V D V^T.
        activation: the nonlinearity; tanh and sigmoid have no parameters, and ignore the next four settings.
        slope: one slope a layer ("scalar") or one a coordinate ("vector"), of the PReLUs.
        initial_slope: the slope's initial value.
        positive: how a slope is kept positive: softplus(raw) + 0.01 or |raw| + 0.01.
        smoothness: half width of the rounded kink of smooth_prelu.
        final_activation: put an activation after the last map too.
        base: the distribution of each coordinate before the flow: normal; or student_t or laplace, whose heavier tails
            make a far row less improbable.
        degrees: the degrees of freedom of student_t; fewer give heavier tails.
        initialization: bounded, so samples spread no wider at any depth or dimension. Others are near_identity, as in
            earlier versions, whose spread grows with both, and glorot, as in Jang's tutorial. The last is covering,
            stretched over the data.

    A bounded initialization equals near_identity for up to 6 layers in 2 dimensions. With more layers, each is
    closer to the identity: V V^T, the variance of the shift and the log of the slope are multiplied by 6 / depth. With
    more dimensions, V V^T is also multiplied by 2 / dim.

    Reference:
        | Fixup Initialization: Residual Learning Without Normalization (Hongyi Zhang, Yann Dauphin, Tengyu Ma, 2019)
        | https://arxiv.org/abs/1901.09321
        | Normalizing Flows Tutorial, Part 1: Distributions and Determinants (Eric Jang, 2018)
        | https://blog.evjang.com/2018/01/nf1.html
    """

    vectors_only = True
    takes_context = False

    depth: int = setting(6, minimum=1, maximum=10_000)
    rank: int = setting(2, minimum=0)
    scale: str = setting("tril", choices=("tril", "diag"))
    weighted: bool = False
    activation: str = setting("smooth_prelu", choices=("smooth_prelu", "prelu", "tanh", "sigmoid"))
    slope: str = setting("scalar", choices=("scalar", "vector"))
    initial_slope: float = setting(0.8, above=0.01, per_job=True)
    positive: str = setting("softplus", choices=("softplus", "abs"))
    smoothness: float = setting(1.0, above=0, per_job=True)
    final_activation: bool = False
    base: str = setting("normal", choices=("normal", "student_t", "laplace"))
    degrees: float = setting(5.0, above=0)
    initialization: str = setting("bounded", choices=("near_identity", "glorot", "covering", "bounded"), per_job=True)

    def check(self, event_shape: tuple[int, ...]) -> None:
        if self.rank > event_shape[0]:
            raise ConfigError(
                f"flow.rank={self.rank}: must be at most the dimension of the target, {event_shape[0]}; use "
                f"flow.rank={event_shape[0]}"
            )
        if self.initialization == "covering" and self.final_activation:
            raise ConfigError(
                "flow.initialization=covering: stretches the last affine map over the data, so it must be the last "
                "layer; use flow.final_activation=false"
            )

    def build(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None = None,
        generator: torch.Generator | None = None,
    ) -> Flow:
        import torch
        from torch.distributions import Independent, Laplace, StudentT

        from flowlab.bijectors import Chain, LowRankAffine, PReLU, Sigmoid, SmoothPReLU, Tanh
        from flowlab.distributions.base import StandardNormal
        from flowlab.flow import Flow
        from flowlab.flows._initialize import glorot_uniform_

        (dim,) = event_shape
        share = spread = 1.0
        if self.initialization == "bounded":
            share, spread = min(1.0, 6 / self.depth), min(1.0, 2 / dim)
        slopes = (self.initial_slope**share, dim if self.slope == "vector" else None, self.positive)
        deviations = 0.5 * (share * spread) ** 0.5, 0.5 * share**0.5  # deviations of V and of the shift
        activations: dict[str, Callable[[], Bijector]] = {
            "tanh": Tanh,
            "sigmoid": Sigmoid,
            "prelu": partial(PReLU, *slopes),
            "smooth_prelu": partial(SmoothPReLU, *slopes, self.smoothness),
        }
        affines = [
            LowRankAffine(dim, self.rank, self.scale, self.weighted, *deviations, generator) for _ in range(self.depth)
        ]
        between = [activations[self.activation]() for _ in affines[1:]]
        parts: list[Bijector] = [affines[0]]
        for activation, affine in zip(between, affines[1:], strict=True):
            parts += [activation, affine]
        chain = Chain([*parts, activations[self.activation]()] if self.final_activation else parts)
        if self.initialization == "glorot":
            glorot_uniform_(chain, generator)
        if self.base == "normal":
            return Flow(StandardNormal(dim), chain)
        zeros, ones = torch.zeros(dim), torch.ones(dim)
        heavy: dict[str, Callable[..., Any]] = {"student_t": partial(StudentT, self.degrees * ones), "laplace": Laplace}
        return Flow(Independent(heavy[self.base](zeros, ones, validate_args=False), 1), chain)

    @property
    def initialized_from_data(self) -> bool:
        return self.initialization == "covering"

    def initialize(self, flow: Flow, data: Batch, generator: torch.Generator | None = None) -> None:
        from flowlab.flows._initialize import cover_

        if self.initialization == "covering":
            cover_(flow, data.x, generator)
