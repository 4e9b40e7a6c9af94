"""Adapters to `torch.distributions`: transforms as bijectors, and bijectors as transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import (
    AffineTransform,
    CatTransform,
    ComposeTransform,
    IndependentTransform,
    StackTransform,
    Transform,
    _InverseTransform,
)

from flowlab.bijectors.base import Bijector
from flowlab.bijectors.compose import Chain
from flowlab.bijectors.linear.fixed import FillTriangular
from flowlab.bijectors.shapes import sum_rightmost
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

    _transform: Transform

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        if not transform.bijective:
            raise ValueError(f"{type(transform).__name__} is not bijective, so it has no log det and no inverse")
        # A cache would make a result depend on earlier calls.
        uncached = transform.with_cache(0) if transform._cache_size else transform
        vars(self)["_transform"] = register_contents(self, uncached, suffix="_")  # not a submodule if it is a module
        inner = transform
        while isinstance(inner, IndependentTransform):
            inner = inner.base_transform
        self.affine = self.constant_log_det = isinstance(inner, AffineTransform)
        # Joined transforms are elementwise to torch, but need all dimensions from the one along which they are joined.
        self._joined = _joined(inner)
        dims = max((-dim for dim, _ in self._joined), default=0)
        domain, codomain = self._transform.domain, self._transform.codomain
        self.event_dim, self._image_event_dim = max(domain.event_dim, dims), max(codomain.event_dim, dims)
        self.domain = event_constraint(_restate(domain, is_open=False), self.event_dim)
        self.codomain = event_constraint(_restate(codomain, is_open=True), self._image_event_dim)

    @property
    def sign(self) -> int | Tensor:  # type: ignore[override]
        try:
            return self._bound().sign
        except NotImplementedError:
            return 0

    @property
    def image_event_dim(self) -> int:
        return self._image_event_dim

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
        return y, self._sum_event(transform.log_abs_det_jacobian(x, y), y)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.inverse_shape(y.shape)
        transform = self._bound()
        x = transform.inv(y)
        return x, -self._sum_event(transform.log_abs_det_jacobian(x, y), y)

    def _sum_event(self, log_det: Tensor, y: Tensor) -> Tensor:
        return sum_rightmost(log_det, log_det.ndim + self.image_event_dim - y.ndim)

    def _shape_after(self, shape_after: Callable[[torch.Size], Sequence[int]], shape: torch.Size) -> torch.Size:
        for dim, length in self._joined:
            if len(shape) < -dim or shape[dim] != length:
                raise ValueError(
                    f"{self.layer_name}: points of shape {tuple(shape)} do not have {length} numbers along dim={dim}, "
                    "one for each transform, or as many as its lengths"
                )
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


def _joined(transform: Transform) -> list[tuple[int, int]]:
    """Along which dimension transforms are joined, and the length there; empty for all other transforms.

    Raises:
        ValueError: the dimension counts from the left, or a part is not elementwise.
    """
    if not isinstance(transform, CatTransform | StackTransform):
        return []
    name = type(transform).__name__
    if transform.dim >= 0:
        raise ValueError(
            f"{name}: dim={transform.dim} counts from the left, where samples and batches are; count from the right, "
            "such as dim=-1"
        )
    for part in transform.transforms:
        if part.domain.event_dim or part.codomain.event_dim:
            raise ValueError(
                f"{name}: {type(part).__name__} is not elementwise, and torch then sums the wrong log dets; join "
                "elementwise transforms, and apply the others before or after"
            )
    return [(transform.dim, getattr(transform, "length", len(transform.transforms)))]


def _restate(constraint: Constraint, is_open: bool) -> Constraint:
    """The same constraint, open at the ends where the inverse of a transform is infinite, and as torch can check it."""
    if isinstance(constraint, constraints.independent):
        return constraints.independent(
            _restate(constraint.base_constraint, is_open), constraint.reinterpreted_batch_ndims
        )
    if isinstance(constraint, constraints.cat | constraints.stack):
        parts = [_restate(part, is_open) for part in constraint.cseq]
        return constraints.cat(parts, constraint.dim, getattr(constraint, "lengths", None))
    if is_open and isinstance(constraint, type(constraints.simplex)):
        return open_simplex()
    if is_open and isinstance(constraint, constraints.interval):
        return open_interval(constraint.lower_bound, constraint.upper_bound)
    return constraint


def from_transform(transform: Transform) -> Bijector:
    """A `torch.distributions` transform as a bijector; a composition becomes a Chain, an inverse an Invert.

    Raises:
        TypeError: the argument is not a transform.
        ValueError: the transform is not bijective, or joins others along a dimension that counts from the left, or
            others that are not elementwise.

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
