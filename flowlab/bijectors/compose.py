"""New bijectors from old: several applied one after another, and the inverse of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.autocast import is_any_autocast_on
from flowlab.bijectors.base import METHODS, Bijector, NoInverseError
from flowlab.bijectors.shapes import check_supports
from flowlab.torch_distributions import NUMBERS


class Chain(Bijector):
    """Bijectors applied one after another, in the order listed: Chain([f, g])(x) = g(f(x)), as is `f | g`.

    TensorFlow Probability's Chain lists the same bijectors in the opposite order. A chain inside a chain is flattened.
    An empty chain is the identity. Log dets of parts with smaller events are summed up to the event of the chain.

    Raises:
        TypeError: a part is not a bijector.
        ValueError: a part maps to events of a shape that the next part does not take. Or its images are known to lie
            outside the domain of the next.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import AffineScalar, Chain, Exp
        >>> chain = Chain([AffineScalar(shift=1.0, scale=2.0), Exp()])
        >>> chain(torch.tensor(0.0))
        tensor(2.7183)
    """

    handles_autocast = METHODS  # each part does
    image_event_dim: int = 0
    image_event_shape: tuple[int, ...] | None = None  # the last part checks what it is given
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
            flat += part.applied()
        if {*(part.domain for part in flat), *(part.codomain for part in flat)} - NUMBERS:
            check_supports(flat)
        self.parts = nn.ModuleList(flat)  # type: ignore[assignment]
        self.parameter_shape = _common_parameter_shape(flat)
        added = [part.added_dims for part in flat]
        for part, dims in zip(reversed(flat), reversed(added), strict=True):
            self.event_dim = max(self.event_dim - dims, part.event_dim)  # gives every part all dimensions of its own
        self.image_event_dim = self.event_dim + sum(added)
        self.uncovered = uncovered_dims(flat, self.event_dim)
        self.event_shape = _common_event_shape(flat)
        self.domain = flat[0].domain if flat else constraints.real
        self.codomain = flat[-1].codomain if flat else constraints.real
        self.onto = all(part.onto for part in flat)
        self.constant_log_det = all(part.constant_log_det for part in flat)
        self.affine = all(part.affine for part in flat)
        self.has_inverse = all(part.has_inverse for part in flat)
        self.forward_passes = max((part.forward_passes for part in flat), default=1)
        self.inverse_passes = max((part.inverse_passes for part in flat), default=1)

    @property
    def sign(self) -> int | Tensor:  # type: ignore[override]
        sign: int | Tensor = 1
        for part in self.parts:
            sign = sign * part.sign
        return sign

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_det = push_forward(self.parts, self.uncovered, x, context)
        return y, torch.zeros_like(y) if log_det is None else log_det

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total: Tensor | None = None
        method = method_of_parts("inverse_and_log_det")
        for part, dims in zip(reversed(self.parts), reversed(self.uncovered), strict=True):
            y, log_det = getattr(part, method)(y, context)
            if dims:
                constant = part.constant_log_det  # then it may be given once for all points
                log_det = (log_det.expand(y.shape[: y.ndim - part.event_dim]) if constant else log_det).sum(dims)
            total = log_det if total is None else total + log_det
        return y, torch.zeros_like(y) if total is None else total

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        method = method_of_parts("forward")
        for part in self.parts:
            x = getattr(part, method)(x, context)
        return x

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        method = method_of_parts("inverse")
        for part in reversed(self.parts):
            y = getattr(part, method)(y, context)
        return y

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        for part in self.parts:
            part.reset_parameters(generator)

    @property
    def inv(self) -> Bijector:
        return Chain([part.inv for part in reversed(self.parts)])

    def applied(self) -> list[Bijector]:
        return list(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int | slice) -> Bijector:
        return Chain(self.parts[index]) if isinstance(index, slice) else self.parts[index]


class Invert(Bijector):
    """The inverse of a bijector, as a bijector: forward is its inverse, inverse its forward.

    Raises:
        NoInverseError: the bijector has no exact inverse.
    """

    handles_autocast = METHODS  # the bijector does
    image_event_dim: int = 0
    image_event_shape: tuple[int, ...] | None = None

    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        if not bijector.has_inverse:
            raise NoInverseError(f"{type(bijector).__name__} has no exact inverse, so there is nothing to invert to")
        self.bijector = bijector
        self.event_dim, self.image_event_dim = bijector.image_event_dim, bijector.event_dim
        self.event_shape, self.image_event_shape = bijector.image_event_shape, bijector.event_shape
        self.domain, self.codomain, self.onto = bijector.codomain, bijector.domain, bijector.onto
        self.constant_log_det, self.affine = bijector.constant_log_det, bijector.affine
        self.parameter_shape = bijector.parameter_shape
        self.forward_passes, self.inverse_passes = bijector.inverse_passes, bijector.forward_passes

    @property
    def sign(self) -> int | Tensor:  # type: ignore[override]
        return self.bijector.sign

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
    def preparation_key(self) -> Hashable | None:  # type: ignore[override]
        key = self.bijector.preparation_key
        return None if key is None else (type(self.bijector), key)

    @classmethod
    def prepare(cls, many: Sequence[Invert]) -> Sequence[Bijector]:
        kind = type(many[0].bijector)
        return [Invert(prepared) for prepared in kind.prepare([each.bijector for each in many])]

    @property
    def inv(self) -> Bijector:
        return self.bijector

    def applied(self) -> list[Bijector]:
        inside = self.bijector.applied()
        return [self] if inside == [self.bijector] else [part.inv for part in reversed(inside)]

    @property
    def layer_name(self) -> str:
        return f"inverse of {self.bijector.layer_name}"


# A chain and an inverse are bijectors, and every bijector makes them.
Bijector.chain_type, Bijector.inverse_type = Chain, Invert


def stages(bijector: Bijector) -> list[Bijector]:
    """The bijectors that a bijector applies one after another, chains flattened.

    Example:
        >>> from flowlab.bijectors import Chain, Exp, Invert, Tanh, stages
        >>> [type(stage).__name__ for stage in stages(Chain([Tanh(), Chain([Exp(), Tanh()])]))]
        ['Tanh', 'Exp', 'Tanh']
    """
    return bijector.applied()


def prepare(bijectors: Sequence[Bijector]) -> list[Bijector]:
    """The same maps for fixed parameters: maps of one class and one `preparation_key` are prepared together.

    Example:
        >>> from flowlab.bijectors import LowRankAffine, Tanh
        >>> from flowlab.bijectors.compose import prepare
        >>> [type(each).__name__ for each in prepare([LowRankAffine(2), Tanh(), LowRankAffine(2)])]
        ['InvertedAffine', 'Tanh', 'InvertedAffine']
    """
    groups: defaultdict[tuple[type[Bijector], Hashable], list[int]] = defaultdict(list)
    for place, bijector in enumerate(bijectors):
        if (key := bijector.preparation_key) is not None:
            groups[type(bijector), key].append(place)
    prepared = list(bijectors)
    for (kind, _), places in groups.items():
        for place, each in zip(places, kind.prepare([bijectors[place] for place in places]), strict=True):
            prepared[place] = each
    return prepared


def method_of_parts(name: str) -> str:
    """The method that a chain or a flow calls on its parts, which were found to fit each other when it was built.

    Their points need no check. Only autocast asks for the checked method, which converts them.
    """
    return name if is_any_autocast_on() else f"unchecked_{name}"


def uncovered_dims(parts: Sequence[Bijector], event_dim: int) -> list[tuple[int, ...]]:
    """The dimensions of an event, counted from the last, that the log det of each part leaves to be summed over.

    `event_dim` is the number of dimensions of an event of the first part.
    """
    uncovered = []
    for part in parts:
        uncovered.append(tuple(range(part.event_dim - event_dim, 0)))
        event_dim += part.added_dims
    return uncovered


def push_forward(
    parts: Sequence[Bijector], uncovered: Sequence[tuple[int, ...]], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The image of x under bijectors applied one after another, and the sum of their log dets; None without any."""
    total: Tensor | None = None
    method = method_of_parts("forward_and_log_det")
    for part, dims in zip(parts, uncovered, strict=True):
        x, log_det = getattr(part, method)(x, context)
        if dims:
            constant = part.constant_log_det  # then it may be given once for all points
            log_det = (log_det.expand(x.shape[: x.ndim - part.image_event_dim]) if constant else log_det).sum(dims)
        total = log_det if total is None else total + log_det
    return x, total


def _common_event_shape(parts: Sequence[Bijector]) -> tuple[int, ...] | None:
    """The shape of an event of the first part that suits all parts, None where any will do; found from the last back.

    Raises:
        ValueError: no shape suits a part and the part after it.
    """
    shape: tuple[int, ...] | None = None
    following = ""
    for part in reversed(parts):
        name = type(part).__name__
        try:
            shape = part.event_shape_before(shape)
        except ValueError as error:
            raise ValueError(f"Chain: {following} cannot follow {name}: {error}") from None
        following = name
    return shape


def _common_parameter_shape(parts: Sequence[Bijector]) -> torch.Size | None:
    shapes = [part.parameter_shape for part in parts if part.parameter_shape is not None]
    try:
        return torch.broadcast_shapes(*shapes) if len(shapes) == len(parts) else None
    except RuntimeError:
        raise ValueError(
            f"Chain: parameters of shapes {', '.join(str(tuple(shape)) for shape in shapes)} do not broadcast; give "
            "each part one parameter, or one a coordinate"
        ) from None
