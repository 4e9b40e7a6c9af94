"""The bijector contract, and the two ways to make new bijectors from old: Chain and Invert.

One direction holds in the whole library: `forward` goes from the base to the data, `inverse` from the data to the base.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowlab.supports import is_thin

if TYPE_CHECKING:
    import pandas


class NoInverseError(NotImplementedError):
    """An inverse was asked of a bijector that has none in closed form."""


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """Sum over the last `dims` dimensions; 0 leaves the value as it is."""
    return value.sum(dim=tuple(range(-dims, 0))) if dims > 0 else value


def added_dims(bijector: Bijector) -> int:
    """How many dimensions more an event of the image has than one of the domain."""
    return bijector.image_event_dim - bijector.event_dim


class Bijector(nn.Module):
    r"""An invertible map y = f(x) that knows log |det df/dx|.

    A subclass writes the two fused methods, `forward_and_log_det` and `inverse_and_log_det`, and declares what is
    known of the map; everything else is derived here. There is no cache: what a method returns depends on its
    arguments and on the parameters alone.

    Declared by a subclass:
        event_dim: how many of the rightmost dimensions one log det covers (0 elementwise, 1 a vector). A log det has
            the shape of x without its last `event_dim` dimensions.
        image_event_dim: the same of y, where it differs, as for a map of vectors to matrices.
        forward_shape, inverse_shape: the shape of y from that of x and back, where they differ. The log det is then
            that between as many free coordinates on both sides; the subclass says which ones they are.
        domain, codomain: constraints of `torch.distributions` on x and on y.
        sign: +1 for an increasing elementwise map, -1 for a decreasing one, 0 for neither; a tensor where it
            depends on parameters.
        constant_log_det: the log det is the same at every x.
        affine: f(x) = A x + b, so that the mean of x is sent to the mean of y.
        has_inverse: there is an exact inverse.

    Log dets are in nats. `context` conditions the map on another tensor; a bijector that has no use for it ignores it.
    """

    event_dim: int = 0
    domain: Constraint = constraints.real
    codomain: Constraint = constraints.real
    sign: int | Tensor = 0
    constant_log_det: bool = False
    affine: bool = False
    has_inverse: bool = True

    @property
    def image_event_dim(self) -> int:
        """How many of the rightmost dimensions of y one log det covers."""
        return self.event_dim

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of y = f(x) for x of the given shape, batch dimensions included."""
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of x = f^-1(y) for y of the given shape, batch dimensions included."""
        return shape

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The image y = f(x) and log |det df/dx| at x."""
        raise NotImplementedError(f"{type(self).__name__} must define forward_and_log_det(x, context=None)")

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The pre-image x = f^-1(y) and log |det dx/dy| at y: the forward log det at x with its sign turned.

        Raises:
            NoInverseError: the map has no exact inverse.
        """
        raise NoInverseError(
            f"{type(self).__name__} has no exact inverse: it samples, but it cannot score given points"
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """y = f(x); also what calling the bijector does."""
        return self.forward_and_log_det(x, context)[0]

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """x = f^-1(y)."""
        return self.inverse_and_log_det(y, context)[0]

    def forward_log_det_jacobian(
        self, x: Tensor, event_ndims: int | None = None, context: Tensor | None = None
    ) -> Tensor:
        """log |det df/dx| at x in nats, summed over the last `event_ndims` dimensions (default: `event_dim`)."""
        return self._reduce(self.forward_and_log_det(x, context)[1], event_ndims, self.event_dim)

    def inverse_log_det_jacobian(
        self, y: Tensor, event_ndims: int | None = None, context: Tensor | None = None
    ) -> Tensor:
        """log |det dx/dy| at y in nats, summed over the last `event_ndims` dimensions of y (default: its event)."""
        return self._reduce(self.inverse_and_log_det(y, context)[1], event_ndims, self.image_event_dim)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the documented start of the parameters again; a bijector with a fixed start does nothing."""

    @property
    def inv(self) -> Bijector:
        """The inverse map as a bijector, sharing this one's parameters."""
        return Invert(self)

    def __or__(self, other: Bijector) -> Chain:
        return Chain([self, other])

    def summary(self) -> pandas.DataFrame:
        """A table of the layers in the order applied: parameters with their shapes, how many, and which are learned."""
        from flowlab.summary import summarize

        return summarize(self)

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    def _reduce(self, log_det: Tensor, event_ndims: int | None, covered: int) -> Tensor:
        if event_ndims is None:
            return log_det
        if event_ndims < covered:
            raise ValueError(
                f"event_ndims={event_ndims} is too small for {type(self).__name__}: one log det covers its last "
                f"{covered} dimension(s), so event_ndims must be at least {covered}"
            )
        return sum_rightmost(log_det, event_ndims - covered)

    def _hold(self, name: str, value: Any) -> None:
        """Keep `value` under `name`: an `nn.Parameter` is learned, a number or any other tensor is a constant.

        A constant is a buffer, so that it moves, saves and loads with the module.
        """
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        else:
            tensor = torch.as_tensor(value)
            floating = tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
            self.register_buffer(name, floating)


class Chain(Bijector):
    """Bijectors applied one after another, in the order listed: Chain([f, g])(x) = g(f(x)); so is `f | g`.

    TensorFlow Probability's Chain lists the same bijectors the other way round. A chain inside a chain is taken apart.
    An empty chain is the identity. Log dets of parts with smaller events are summed up to the event of the chain.

    Raises:
        TypeError: a part is not a bijector.
        ValueError: a part whose image has fewer free coordinates than numbers, such as a simplex, is followed by a map
            of all numbers, whose log det counts each as free.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import AffineScalar, Chain, Exp
        >>> chain = Chain([AffineScalar(shift=1.0, scale=2.0), Exp()])
        >>> chain(torch.tensor(0.0))
        tensor(2.7183)
    """

    parts: Sequence[Bijector]

    def __init__(self, parts: Iterable[Bijector]) -> None:
        super().__init__()
        flat: list[Bijector] = []
        for part in parts:
            if not isinstance(part, Bijector):
                raise TypeError(
                    f"Chain takes bijectors, got {type(part).__name__}; from_transform makes one of a torch transform, "
                    "Inline one of a pair of functions"
                )
            flat.extend(stages(part))
        for part, following in pairwise(flat):
            if is_thin(part.codomain) and not is_thin(following.domain):
                raise ValueError(
                    f"Chain: {type(following).__name__} cannot follow {type(part).__name__}, whose image "
                    f"{part.codomain} has fewer free coordinates than numbers; put it before"
                )
        self.parts = nn.ModuleList(flat)  # type: ignore[assignment]
        for part in reversed(flat):  # the smallest event with which every part gets all that it covers
            self.event_dim = max(self.event_dim - added_dims(part), part.event_dim)
        self.domain = flat[0].domain if flat else constraints.real
        self.codomain = flat[-1].codomain if flat else constraints.real
        self.constant_log_det = all(part.constant_log_det for part in flat)
        self.affine = all(part.affine for part in flat)
        self.has_inverse = all(part.has_inverse for part in flat)

    @property
    def sign(self) -> int | Tensor:  # type: ignore[override]
        sign: int | Tensor = 1
        for part in self.parts:
            sign = sign * part.sign
        return sign

    @property
    def image_event_dim(self) -> int:
        return self.event_dim + sum(added_dims(part) for part in self.parts)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        event_dim, total = self.event_dim, None
        for part in self.parts:
            x, log_det = part.forward_and_log_det(x, context)
            log_det = sum_rightmost(log_det, event_dim - part.event_dim)
            total = log_det if total is None else total + log_det
            event_dim += added_dims(part)
        return x, torch.zeros_like(x) if total is None else total

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        event_dim, total = self.image_event_dim, None
        for part in reversed(self.parts):
            y, log_det = part.inverse_and_log_det(y, context)
            log_det = sum_rightmost(log_det, event_dim - part.image_event_dim)
            total = log_det if total is None else total + log_det
            event_dim -= added_dims(part)
        return y, torch.zeros_like(y) if total is None else total

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        for part in self.parts:
            part.reset_parameters(generator)

    @property
    def inv(self) -> Bijector:
        return Chain([part.inv for part in reversed(self.parts)])

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Bijector:
        return self.parts[index]


class Invert(Bijector):
    """The inverse of a bijector, as a bijector: forward is its inverse and the other way round."""

    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        if not bijector.has_inverse:
            raise NoInverseError(f"{type(bijector).__name__} has no exact inverse, so there is nothing to invert to")
        self.bijector = bijector
        self.event_dim = bijector.image_event_dim
        self.domain, self.codomain = bijector.codomain, bijector.domain
        self.constant_log_det, self.affine = bijector.constant_log_det, bijector.affine

    @property
    def sign(self) -> int | Tensor:  # type: ignore[override]
        return self.bijector.sign

    @property
    def image_event_dim(self) -> int:
        return self.bijector.event_dim

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return self.bijector.inverse_shape(shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return self.bijector.forward_shape(shape)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijector.inverse_and_log_det(x, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijector.forward_and_log_det(y, context)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.bijector.reset_parameters(generator)

    @property
    def inv(self) -> Bijector:
        return self.bijector


def stages(bijector: Bijector) -> list[Bijector]:
    """The bijectors that are applied one after another, with chains taken apart.

    Example:
        >>> from flowlab.bijectors import Chain, Exp, Invert, Tanh, stages
        >>> [type(stage).__name__ for stage in stages(Chain([Tanh(), Chain([Exp(), Tanh()])]))]
        ['Tanh', 'Exp', 'Tanh']
    """
    if isinstance(bijector, Chain):
        return list(bijector.parts)
    if isinstance(bijector, Invert) and isinstance(bijector.bijector, Chain):
        return stages(bijector.bijector.inv)
    return [bijector]
