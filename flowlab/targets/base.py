"""The interface of a target: a distribution to learn, with points to train on and, if known, its density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from flowlab.config.component import Component, setting
from flowlab.config.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions.constraints import Constraint

    from flowlab.bijectors import Bijector
    from flowlab.tables.schema import Schema
    from flowlab.targets.densities.support import Support

Bounds = tuple[tuple[float, float], ...]
Standardization = tuple["Tensor", "Tensor"] | tuple["Tensor", "Tensor", bool]
SPLITS = ("train", "validation", "test")
LOG_TWO_PI = math.log(2 * math.pi)


class Batch(NamedTuple):
    """Points with their contexts.

    Attributes:
        x: points of shape (*, event), or random numbers from which a target makes points.
        context: contexts of shape (*, c), or None for an unconditional target.
    """

    x: Tensor
    context: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """The points, and the contexts if there are any."""
        return [self.x] if self.context is None else [self.x, self.context]

    def to(self, *where: Any) -> Batch:
        """The batch on another device or in another dtype."""
        return Batch(*(tensor.to(*where) for tensor in self.tensors()))


class Minibatch(Batch):
    """The batch of a training step, for objectives that change with it; `step` is how many steps were taken before."""

    step: Tensor  # a whole number of shape ()

    def __new__(cls, batch: Batch, step: Tensor) -> Self:
        made = super().__new__(cls, *batch)
        made.step = step
        return made


class Target:
    """A distribution to learn, with a finite set of points or fresh points at every step.

    Attributes:
        event_shape, context_shape: the shape of a point, and of a context, (c,); None for an unconditional target.
        columns, bounds: the names of the coordinates, and the interval of each that figures show.
        entropy: the differential entropy in nats, or None if it is not known.
        train_size: the number of training points; None if each step draws fresh points.
        standardization: center and spread of each coordinate, and True if outliers must not dominate, for a flow's
            last bijector; None: there is none. With a schema they are taken on the real line, before its domains.
        schema: the columns of a table with their kinds; None if the points are not rows of a table.
        fingerprint: identifies the data, such as the hash of a file; None if there is no file.
        notes: lines about the data, printed before training.
        preset: a file of conf/target/training, by its name, with settings that suit it; None: the defaults do.
        row_numbers: for each split the numbers of its rows in the data, from 1; None if they have none.
        stackable: jobs on it can be trained as one stack, by vmap.
        has_points, has_density: whether points of it are available, and whether its density can be computed.
        log_normalizer: log Z in nats, the log integral of the density before it is normalized; None: it is not known.
    """

    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    bounds: Bounds
    entropy: float | None = None
    train_size: int | None = None
    standardization: Standardization | None = None
    schema: Schema | None = None
    fingerprint: str | None = None
    notes: Sequence[str] = ()
    preset: str | None = None
    row_numbers: dict[str, Tensor] | None = None
    stackable: bool = True
    has_points: bool = True
    has_density: bool = False
    log_normalizer: float | None = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if isinstance(dim := vars(cls).get("dim"), int):  # a shorthand for targets of vectors
            del cls.dim
            cls.event_shape = (dim,)

    @property
    def dim(self) -> int:
        """The number of coordinates of a point."""
        return math.prod(self.event_shape)

    @dim.setter
    def dim(self, dim: int) -> None:
        self.event_shape = (dim,)

    @property
    def columns(self) -> list[str]:
        return [f"x{number + 1}" for number in range(self.dim)]

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Tensor:
        """Points of a split, of shape (n, event); a finite set gives all of its points, whatever `count` is.

        Arguments:
            split: "train", "validation" or "test"; no two share a point.
            count: the number of points.
            seed: the run's seed.
            dtype: the points' dtype; None is float32.
        """
        raise NotImplementedError(f"{type(self).__name__} must define rows(split, count, seed, dtype)")

    def batch(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Batch:
        """Points of a split with their contexts; see rows."""
        return Batch(self.rows(split, count, seed, dtype))

    def to_units(self) -> Bijector | None:
        """A flow's fixed last bijector, from standardized points to the units of the data; None: there is none."""
        from flowlab.tables.domains import to_units

        return to_units(self.standardization, None if self.schema is None else self.schema.domains)

    def support_of_flow(self, needs_density: bool) -> Support | None:
        """The support onto which a flow's fixed last bijector maps; None: a flow has no such bijector.

        `needs_density` says whether the objective evaluates the target's density at points of the flow.
        """
        return None

    def encode_context(self, values: Tensor) -> Tensor:
        """The contexts that a flow gets for values of shape (*, c) in the units of the data: by default the values."""
        return values

    def row_weights(self, split: str) -> Tensor | None:
        """The weights of the points of a split, of shape (n,) in float64; None if all points count the same."""
        return None

    def check(self, dtype: torch.dtype, seed: int) -> None:
        """Check that a dtype holds the target's points.

        Raises:
            ConfigError: a point overflows.
        """
        if not self.rows("validation", 64, seed, dtype).isfinite().all():
            single = str(dtype) == "torch.float32"
            raise ConfigError(
                f"target={getattr(self, 'name', '') or type(self).__name__}: has points that "
                f"dtype={str(dtype).removeprefix('torch.')} does not hold; use smaller numbers"
                + (" or dtype=float64" if single else "")
            )


@dataclass
class ExactTarget(Target, Component):
    """A target whose density is known, so a flow's KL divergence from it can be measured.

    A subclass defines `from_draws`, `log_prob` and `bounds`. It may define `entropy`, or `quadrature_bounds`, on which
    the entropy of a two-dimensional target is computed; without both it is None.
    A conditional target has a `context_shape` and defines `draw_batch` and `batch_from_draws` instead of `from_draws`;
    its `entropy` is the average over the contexts, or None. Without a sampler it is for objectives without points.

    Attributes:
        log_normalizer: log Z in nats, the log integral of exp(unnormalized_log_prob); None if it is not known.
        positive_on_support: the density is positive everywhere on `support`.
        flow_ends_in_support: every flow ends with a fixed map onto a bounded `support`, not only if the objective needs
            the density, which is 0 outside.

    Arguments:
        train_size: train on this many points, drawn once from the seed; None draws fresh points at every step.
    """

    train_size: int | None = setting(None, minimum=1, kw_only=True)

    event_shape = (2,)
    has_density = True
    log_normalizer = 0.0  # type: float | None
    flow_ends_in_support = False
    positive_on_support = True
    quadrature_bounds = ()  # type: Bounds  # an annotation would make it a field
    quadrature_size = 1000

    def __init__(self, train_size: int | None = None) -> None:  # for subclasses that are not dataclasses
        self.train_size = train_size

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        samplers = ("from_draws", "batch_from_draws", "rows", "batch")
        if "has_points" not in vars(cls):
            cls.has_points = any(getattr(cls, name) is not getattr(ExactTarget, name) for name in samplers)

    @property
    def support(self) -> Constraint:
        """The constraint that points of positive density satisfy."""
        from torch.distributions import constraints

        return constraints.real_vector

    def build(self, **given: Any) -> ExactTarget:
        """A copy, because training moves its constants to a device; a ConfigError if settings do not fit each other."""
        try:
            return replace(self)
        except OverflowError:
            raise ConfigError(
                f"target={self.name}: its numbers are too large to compute with; use smaller ones"
            ) from None

    def support_of_flow(self, needs_density: bool) -> Support | None:
        if not (needs_density or self.flow_ends_in_support):
            return None
        from flowlab.targets.densities.support import Support
        from flowlab.torch_distributions import is_unbounded

        return None if is_unbounded(self.support) else Support.of(self.support, self.dim)

    def check(self, dtype: torch.dtype, seed: int) -> None:
        if self.has_points:
            super().check(dtype, seed)

    def sample(self, count: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        """Points of shape (count, event), drawn from the generator on its device."""
        return self.from_draws(self.draw(count, generator, dtype))

    def draw(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Tensor:
        """The random numbers behind points, of shape (count, k): by default standard normal, one a coordinate."""
        import torch

        like = {"dtype": dtype or torch.float32, "device": generator.device}
        return torch.randn(count, self.dim, generator=generator, **like)  # type: ignore[call-overload]

    def from_draws(self, drawn: Tensor) -> Tensor:
        """Points of shape (*, event) made of random numbers of shape (*, k), by arithmetic that can be compiled."""
        raise NotImplementedError(f"{type(self).__name__} must define from_draws(drawn)")

    def draw_batch(self, count: int, generator: torch.Generator, dtype: torch.dtype | None) -> Batch:
        """The random numbers behind a minibatch and its contexts."""
        return Batch(self.draw(count, generator, dtype))

    def batch_from_draws(self, drawn: Batch) -> Batch:
        """The minibatch made of random numbers."""
        return Batch(self.from_draws(drawn.x), drawn.context)

    def to_(self, device: torch.device | str) -> None:
        """Move the constants to a device, so no step copies them there."""
        import torch

        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, value.to(device))
            elif isinstance(value, tuple) and value and all(isinstance(part, torch.Tensor) for part in value):
                setattr(self, name, tuple(part.to(device) for part in value))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats at points of shape (*, event); of shape (*)."""
        raise NotImplementedError(f"{type(self).__name__} must define log_prob(x)")

    def unnormalized_log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density plus `log_normalizer` in nats, such as minus an energy."""
        return self.log_prob(x) if context is None else self.log_prob(x, context)

    @cached_property
    def entropy(self) -> float | None:  # type: ignore[override]
        """-E log p in nats, by default by the trapezoidal rule on a grid of `quadrature_size`^2 points in float64.

        For a smooth density that vanishes at the edge of the grid, the rule converges faster than any power of the
        spacing.
        """
        if not self.quadrature_bounds:
            return None
        from flowlab.targets.densities._quadrature import entropy, grid

        return entropy(self.log_prob, *grid(self.quadrature_bounds, self.quadrature_size))

    def rows(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Tensor:
        return self._draw_split(split, count, seed, dtype).x

    def batch(self, split: str, count: int, seed: int, dtype: torch.dtype | None = None) -> Batch:
        if self.context_shape is None:
            return super().batch(split, count, seed, dtype)  # by `rows`, which a subclass may define
        return self._draw_split(split, count, seed, dtype)

    def _draw_split(self, split: str, count: int, seed: int, dtype: torch.dtype | None) -> Batch:
        from flowlab.seeding import generator

        count = count if split != "train" or self.train_size is None else self.train_size
        return self.batch_from_draws(self.draw_batch(count, generator(seed, f"{split} data"), dtype))
