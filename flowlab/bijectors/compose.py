"""New bijectors from old: several applied one after another, and one the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.bijectors.base import Bijector, NoInverseError, sum_rightmost
from flowlab.constraints import is_thin


def added_dims(bijector: Bijector) -> int:
    """How many dimensions more an event of the image has than one of the domain."""
    return bijector.image_event_dim - bijector.event_dim


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

    mixed = True  # its parts see to it
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

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        for part in self.parts:
            x = part.forward(x, context)
        return x

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        for part in reversed(self.parts):
            y = part.inverse(y, context)
        return y

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

    mixed = True  # the bijector sees to it

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

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.bijector.inverse(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return self.bijector.forward(y, context)

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
