"""The bijector contract.

One direction holds in the whole library: `forward` maps the base to the data, `inverse` maps the data to the base.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowlab.autocast import HALF, call_converted, is_any_autocast_on
from flowlab.bijectors.shapes import event_shape_error, probe_parameter_shape, sum_rightmost, summarize

if TYPE_CHECKING:
    import pandas

METHODS = ("forward", "inverse", "forward_and_log_det", "inverse_and_log_det")


class NoInverseError(NotImplementedError):
    """The bijector has no inverse in closed form."""


class Bijector(nn.Module):
    r"""An invertible map y = f(x) that knows log |det df/dx|.

    A subclass writes the two fused methods, `forward_and_log_det` and `inverse_and_log_det`, and declares the
    properties of the map; the base class derives everything else. Where a log det is expensive, the subclass also
    writes `forward` or `inverse` without it. There is no cache: a result depends on the arguments and the parameters
    alone, and one event on no other event.

    Declared by a subclass:
        event_dim: how many of the rightmost dimensions one log det covers (0 elementwise, 1 a vector). A log det has
            the shape of x without its last `event_dim` dimensions.
        image_event_dim: the same for y, where it differs, as for a map of vectors to matrices.
        event_shape: the shape of one event of x where it is fixed, such as (3,); None where any will do.
        image_event_shape: the same for y, where it differs.
        parameter_shape: for an elementwise map, the shape that its parameters broadcast to, () without parameters; y
            has the shape of x broadcast with it. None: it is the shape of the image of a number without a context.
        forward_shape, inverse_shape: the shape of y from the shape of x and back, where they differ. The log det is
            then taken between equally many free coordinates on both sides; the subclass says which.
        domain, codomain: constraints of `torch.distributions` on x and on y.
        onto: the image of the domain is known to be all of the codomain, not a part of it.
        sign: +1 for an increasing elementwise map, -1 for a decreasing one, 0 for neither; a tensor if it is learned.
        constant_log_det: the log det is the same at every x.
        affine: f(x) = A x + b given a context, so the mean of x is mapped to the mean of y.
        has_inverse: there is an exact inverse.
        forward_passes, inverse_passes: evaluations of its network, such as d for the slow direction of a MAF.
        handles_autocast: the names of the methods that run inside of `torch.autocast`; all others run outside of it.
        preparation_key: maps of one class and one key can be prepared together, see `prepare`; None: no map can.

    Log dets are in nats. `context` conditions the map: a tensor of shape (*batch, c) whose batch broadcasts against the
    batch of the points; see `broadcast_context`. A bijector without use for a context ignores it. Points and parameters
    of different dtypes are computed in the wider one, and half precision in float32, to which only points are rounded
    back. Integer points are converted to the dtype of the parameters, or else to torch's default.
    """

    event_dim: int = 0
    event_shape: tuple[int, ...] | None = None
    parameter_shape: torch.Size | None = None
    domain: Constraint = constraints.real
    codomain: Constraint = constraints.real
    onto: bool = True
    sign: int | Tensor = 0
    constant_log_det: bool = False
    affine: bool = False
    has_inverse: bool = True
    forward_passes: int = 1
    inverse_passes: int = 1
    handles_autocast: tuple[str, ...] = ()
    preparation_key: Hashable | None = None

    # `flowlab.bijectors.compose` sets these two: its classes are bijectors themselves.
    chain_type: ClassVar[type[Bijector]]
    inverse_type: ClassVar[type[Bijector]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        fused = (cls.forward_and_log_det, cls.inverse_and_log_det)
        has_none = fused == (Bijector.forward_and_log_det, Bijector.inverse_and_log_det)
        if has_none and ("forward" in vars(cls) or "inverse" in vars(cls)):
            raise TypeError(
                f"{cls.__name__}: define forward_and_log_det and inverse_and_log_det, which return (y, log det) and "
                "(x, log det); forward and inverse, which return a tensor alone, follow from them"
            )
        for name in METHODS:
            if name in vars(cls):
                setattr(cls, f"unchecked_{name}", vars(cls)[name])
                setattr(cls, name, _checked(name, vars(cls)[name]))

    @property
    def image_event_dim(self) -> int:
        """How many of the rightmost dimensions of y one log det covers."""
        return self.event_dim

    @property
    def image_event_shape(self) -> tuple[int, ...] | None:
        """The shape of one event of y where it is fixed."""
        return self.event_shape

    @property
    def added_dims(self) -> int:
        """How many more dimensions an event of y has than an event of x."""
        return self.image_event_dim - self.event_dim

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of y = f(x) for x of the given shape, batch included; a ValueError if x cannot have it."""
        check_event_shape(type(self).__name__, shape, self.event_shape)
        return self._broadcast_with_parameters(shape, "forward")

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of x = f^-1(y) for y of the given shape, batch included; a ValueError if no image has it."""
        check_event_shape(type(self).__name__, shape, self.image_event_shape)
        return self._broadcast_with_parameters(shape, "inverse")

    def _broadcast_with_parameters(self, shape: torch.Size, method: str) -> torch.Size:
        unknown = self.parameter_shape is None and not (self.event_dim or self.image_event_dim)
        parameters = probe_parameter_shape(self, method) if unknown else self.parameter_shape
        try:
            return torch.broadcast_shapes(shape, parameters) if parameters else shape
        except RuntimeError:
            raise ValueError(
                f"{type(self).__name__}: parameters of shape {tuple(parameters or ())} do not broadcast against "
                f"points of shape {tuple(shape)}; give one parameter, or one for each coordinate"
            ) from None

    def event_shape_before(self, image: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """The shape of an event of x, from the shape of an event of y or more; None where either is unknown.

        A shape that no image has raises a ValueError.
        """
        fixed = self.image_event_shape
        if fixed is not None and (image is None or len(image) < len(fixed)):
            check_event_shape(type(self).__name__, fixed, image)
            image = fixed
        if image is None or len(image) < self.image_event_dim:
            return None
        shape = self.inverse_shape(torch.Size(image))
        check_event_shape(type(self).__name__, self.forward_shape(shape), image)
        return tuple(shape[len(shape) - len(image) + self.added_dims :]) or None

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The image y = f(x) and log |det df/dx| at x; a ValueError where the events of x have a different shape."""
        raise NotImplementedError(f"{type(self).__name__} must define forward_and_log_det(x, context=None)")

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The pre-image x = f^-1(y) and log |det dx/dy| at y: minus the forward log det at x.

        Raises:
            NoInverseError: the map has no exact inverse.
            ValueError: the events of y do not have the shape of an image.
        """
        raise NoInverseError(
            f"{type(self).__name__} has no exact inverse: it samples, but it cannot score given points"
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """y = f(x); calling the bijector does the same."""
        return self.forward_and_log_det(x, context)[0]

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """x = f^-1(y)."""
        return self.inverse_and_log_det(y, context)[0]

    # Chains and flows call these on their parts: see `method_of_parts`.
    unchecked_forward_and_log_det, unchecked_inverse_and_log_det = forward_and_log_det, inverse_and_log_det
    unchecked_forward, unchecked_inverse = forward, inverse

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

    def _reduce(self, log_det: Tensor, event_ndims: int | None, covered: int) -> Tensor:
        if event_ndims is not None and event_ndims < covered:
            raise ValueError(
                f"event_ndims={event_ndims} is too small for {type(self).__name__}: one log det covers its last "
                f"{covered} dimension(s), so event_ndims must be at least {covered}"
            )
        return log_det if event_ndims is None else sum_rightmost(log_det, event_ndims - covered)

    def invertible(self, dtype: torch.dtype) -> tuple[float, float] | None:
        """The interval in which each coordinate of x is recovered from its image, where the others are 0.

        Beyond it the image has overflowed, or is rounded to the end of the codomain, and x is lost. An affine map that
        states no interval loses x where an intermediate value overflows. For any other map None means unknown.
        """
        return None

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Initialize the parameters again, as documented; a bijector with a fixed initialization does nothing."""

    @classmethod
    def prepare(cls, many: Sequence[Self]) -> Sequence[Bijector]:
        """The same maps, of one `preparation_key`, for fixed parameters: work on these alone is done once for all maps.

        Gradients reach the parameters through them; prepare them again after the parameters change. Where a log
        det is constant, they may give it once, of shape (), for all points.
        """
        return many

    @property
    def inv(self) -> Bijector:
        """The inverse map as a bijector, sharing this one's parameters."""
        return self.inverse_type(self)

    def __or__(self, other: Bijector) -> Bijector:
        return self.chain_type([self, other])

    def applied(self) -> list[Bijector]:
        """The bijectors that this one applies one after another; see `flowlab.bijectors.stages`."""
        return [self]

    @property
    def layer_name(self) -> str:
        """The name that a summary shows."""
        return type(self).__name__

    def summary(self) -> pandas.DataFrame:
        """A table of the layers in the order applied: parameters with their shapes, how many, and which are learned."""
        return summarize(self.applied(), first=1)

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    def _register(self, name: str, value: Any) -> None:
        """Register a parameter or module, or a constant as a buffer: a copy, as an expanded tensor cannot be loaded."""
        if isinstance(value, nn.Module):
            self.add_module(name, value)
        elif isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        else:
            tensor = torch.as_tensor(value).detach()
            dtype = tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype()
            self.register_buffer(name, tensor.to(dtype, copy=True, memory_format=torch.contiguous_format))


def _checked(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a bijector that checks the shape of its points, and converts points of a different dtype."""

    @functools.wraps(method)
    def forward(self: Bijector, x: Tensor, context: Tensor | None = None) -> Any:
        _check_points(self, x.shape, self.event_shape, self.event_dim)
        if is_any_autocast_on() or _differ(self, x, context):
            return call_converted(self, dtype_of(self), name, method, x, context)
        return method(self, x, context)

    @functools.wraps(method)
    def inverse(self: Bijector, y: Tensor, context: Tensor | None = None) -> Any:
        _check_points(self, y.shape, self.image_event_shape, self.image_event_dim)
        if is_any_autocast_on() or _differ(self, y, context):
            return call_converted(self, dtype_of(self), name, method, y, context)
        return method(self, y, context)

    return inverse if name.startswith("inverse") else forward


def _check_points(bijector: Bijector, shape: torch.Size, event_shape: tuple[int, ...] | None, event_dim: int) -> None:
    any_event = ("d",) * event_dim if len(shape) < event_dim else None
    check_event_shape(type(bijector).__name__, shape, event_shape or any_event)
    parameters = bijector.parameter_shape
    if parameters and shape[-len(parameters) :] != parameters:
        bijector._broadcast_with_parameters(shape, "forward")


def dtype_of(module: nn.Module) -> torch.dtype | None:
    """The dtype of the first floating-point parameter or buffer of a module; None where it has none."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)


def _differ(bijector: Bijector, points: Tensor, context: Tensor | None) -> bool:
    """Whether points, parameters and context are in different dtypes, or in one that torch does not compute with."""
    dtype = points.dtype
    same = dtype.is_floating_point and dtype not in HALF and (context is None or context.dtype is dtype)
    return not same or dtype_of(bijector) not in (None, dtype)


def check_event_shape(owner: str, shape: Sequence[int], event_shape: tuple[Any, ...] | None) -> None:
    """Check that points of a shape end in the shape of an event; None and () allow any shape.

    Raises:
        ValueError: they do not; the message names the owner, both shapes and a remedy.
    """
    if event_shape and tuple(shape[-len(event_shape) :]) != event_shape:
        raise event_shape_error(owner, tuple(shape), tuple(event_shape))
