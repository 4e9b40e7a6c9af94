"""Adapters to `torch.distributions`: transforms as bijectors, and bijectors as transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.transforms import AffineTransform, ComposeTransform, Transform, _InverseTransform

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.compose import Chain
from flowlab.bijectors.linear.fixed import FillTriangular
from flowlab.torch_distributions import (
    KeptInverse,
    event_constraint,
    open_interval,
    open_simplex,
    rebuild,
    register_contents,
    registered,
)


class FromTransform(Bijector):
    """A bijective `torch.distributions` transform as a bijector; made by `from_transform`.

    The tensors and modules inside the transform are registered, so they are learned, moved and saved.

    Raises:
        ValueError: the transform is not bijective.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        if not transform.bijective:
            raise ValueError(f"{type(transform).__name__} is not bijective, so it has no log det and no inverse")
        # A cache would make a result depend on earlier calls.
        uncached = transform.with_cache(0) if transform._cache_size else transform
        self._transform = register_contents(self, uncached, suffix="_")
        self.affine = self.constant_log_det = isinstance(transform, AffineTransform)
        self.domain, self.codomain = self._transform.domain, self._transform.codomain
        if isinstance(self.codomain, constraints.interval):
            self.codomain = open_interval(self.codomain.lower_bound, self.codomain.upper_bound)
        elif isinstance(self.codomain, type(constraints.simplex)):
            self.codomain = open_simplex()
        self.event_dim = self._transform.domain.event_dim

    @property
    def sign(self) -> int | Tensor:  # type: ignore[override]
        try:
            return self._bound().sign
        except NotImplementedError:
            return 0

    @property
    def image_event_dim(self) -> int:
        return self._transform.codomain.event_dim

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return self._shape_after(self._transform.forward_shape, shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return self._shape_after(self._transform.inverse_shape, shape)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        self.forward_shape(x.shape)  # for an error in words
        return self._bound()(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        self.inverse_shape(y.shape)
        return self._bound().inv(y)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.forward_shape(x.shape)
        transform = self._bound()
        y = transform(x)
        return y, transform.log_abs_det_jacobian(x, y)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.inverse_shape(y.shape)
        transform = self._bound()
        x = transform.inv(y)
        return x, -transform.log_abs_det_jacobian(x, y)

    def _shape_after(self, shape_after: Callable[[torch.Size], Sequence[int]], shape: torch.Size) -> torch.Size:
        try:
            return torch.Size(shape_after(shape))
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{self.layer_name}: points of shape {tuple(shape)} do not fit: {error}") from None

    @property
    def layer_name(self) -> str:
        return type(self._transform).__name__

    def extra_repr(self) -> str:
        return self.layer_name

    def _bound(self) -> Transform:
        """The transform, with this module's tensors."""
        held = registered(self)
        return rebuild(self._transform, {name[:-1]: value for name, value in held.items()}) if held else self._transform


def from_transform(transform: Transform) -> Bijector:
    """A `torch.distributions` transform as a bijector; a composition becomes a Chain, an inverse an Invert.

    Raises:
        TypeError: the argument is not a transform.
        ValueError: the transform is not bijective.

    Example:
        >>> import torch
        >>> from torch.distributions.transforms import PowerTransform
        >>> from flowlab.bijectors import from_transform
        >>> from_transform(PowerTransform(2.0)).inverse(torch.tensor(9.0))
        tensor(3.)
    """
    if not isinstance(transform, Transform):
        raise TypeError(f"from_transform takes a transform of torch.distributions, got {type(transform).__name__}")
    if isinstance(transform, BijectorTransform):
        return transform.bijector
    if isinstance(transform, ComposeTransform):
        return Chain([from_transform(part) for part in transform.parts])
    if isinstance(transform, _InverseTransform):
        return from_transform(transform.inv).inv
    return FromTransform(transform)


class BijectorTransform(Transform):
    """A bijector as a `torch.distributions` transform; made by `to_transform`."""

    def __init__(self, bijector: Bijector, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.bijector = bijector
        self.bijective = bijector.has_inverse

    @property
    def domain(self) -> constraints.Constraint:  # type: ignore[override]
        return event_constraint(self.bijector.domain, self.bijector.event_dim)

    @property
    def codomain(self) -> constraints.Constraint:  # type: ignore[override]
        return event_constraint(self.bijector.codomain, self.bijector.image_event_dim)

    @property
    def sign(self) -> int | Tensor:  # type: ignore[override]
        sign = self.bijector.sign
        if not torch.as_tensor(sign).all():
            raise NotImplementedError(f"{type(self.bijector).__name__} is neither increasing nor decreasing")
        return sign

    @property
    def inv(self) -> Transform:
        if self._inv is None:
            self._inv = KeptInverse(self)
        return self._inv

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BijectorTransform) and self.bijector is other.bijector

    def __hash__(self) -> int:
        return hash(self.bijector)

    def with_cache(self, cache_size: int = 1) -> BijectorTransform:
        return self if self._cache_size == cache_size else BijectorTransform(self.bijector, cache_size)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return self.bijector.forward_shape(torch.Size(shape))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return self.bijector.inverse_shape(torch.Size(shape))

    def _call(self, x: Tensor) -> Tensor:
        return self.bijector.forward(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.bijector.inverse(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.bijector.forward_and_log_det(x)[1]


def to_transform(bijector: Bijector) -> Transform:
    """A bijector as a `torch.distributions` transform, for TransformedDistribution and everything else that takes one.

    Example:
        >>> import torch
        >>> from torch.distributions import Normal, TransformedDistribution
        >>> from flowlab.bijectors import Exp, to_transform
        >>> TransformedDistribution(Normal(0.0, 1.0), [to_transform(Exp())]).log_prob(torch.tensor(1.0))
        tensor(-0.9189)
    """
    return BijectorTransform(bijector)


for registry in (biject_to, transform_to):  # torch itself has no map to the lower triangular matrices
    registry.register(constraints.lower_triangular)(lambda constraint: to_transform(FillTriangular()))
