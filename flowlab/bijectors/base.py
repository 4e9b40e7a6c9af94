"""The bijector contract.

One direction holds in the whole library: `forward` goes from the base to the data, `inverse` from the data to the base.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from flowlab.autocast import minds_autocast

if TYPE_CHECKING:
    import pandas

    from flowlab.bijectors.compose import Chain


class NoInverseError(NotImplementedError):
    """An inverse was asked of a bijector that has none in closed form."""


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """Sum over the last `dims` dimensions; 0 leaves the value as it is."""
    return value.sum(dim=tuple(range(-dims, 0))) if dims > 0 else value


class Bijector(nn.Module):
    r"""An invertible map y = f(x) that knows log |det df/dx|.

    A subclass writes the two fused methods, `forward_and_log_det` and `inverse_and_log_det`, and declares what is
    known of the map; everything else is derived here. Where a log det costs much beside the image, the subclass also
    writes `forward` or `inverse`, which leave it out, and the fused method takes the image from there. There is no
    cache: what a method returns depends on its arguments and on the parameters alone, and an event on no other event.

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
        mixed: it leaves the products of points with matrices to a surrounding `torch.autocast`, by
            `flowlab.autocast`; any other map is taken outside of it.

    Log dets are in nats. `context` conditions the map on another tensor; a bijector that has no use for it ignores it.
    """

    event_dim: int = 0
    domain: Constraint = constraints.real
    codomain: Constraint = constraints.real
    sign: int | Tensor = 0
    constant_log_det: bool = False
    affine: bool = False
    has_inverse: bool = True
    mixed: bool = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in ("forward_and_log_det", "inverse_and_log_det", "forward", "inverse"):
            if name in vars(cls):
                setattr(cls, name, minds_autocast(vars(cls)[name]))

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

    def invertible(self, dtype: torch.dtype) -> tuple[float, float] | None:
        """The interval in which each coordinate of x comes back from its image, where the others are 0.

        Beyond it the image has overflowed, or has been rounded to the end of the codomain, and x is lost. An affine map
        that states none loses x where a number on the way overflows; of any other map that states none, such as a
        chain, nothing is known here.
        """
        return None

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the documented start of the parameters again; a bijector with a fixed start does nothing."""

    @property
    def inv(self) -> Bijector:
        """The inverse map as a bijector, sharing this one's parameters."""
        from flowlab.bijectors.compose import Invert

        return Invert(self)

    def __or__(self, other: Bijector) -> Chain:
        from flowlab.bijectors.compose import Chain

        return Chain([self, other])

    def summary(self) -> pandas.DataFrame:
        """A table of the layers in the order applied: parameters with their shapes, how many, and which are learned."""
        from flowlab.bijectors.summary import summarize

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
