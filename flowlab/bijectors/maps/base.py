"""Maps: families of increasing elementwise functions, whose parameters a network gives."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint


class Map(ABC):
    """A family of increasing functions y = f(x; parameters) of one coordinate, without parameters of its own.

    With parameters 0 the function is the identity. A coupling or an autoregressive bijector applies a map to each
    coordinate, with parameters from its network.

    A subclass sets `size` and defines the two methods. Points have the shape (*, d) and parameters (*, d, size); the
    batches broadcast. A log det has the shape of the points, in nats.

    Attributes:
        size: how many parameters a coordinate has.
        affine: every function of the family is y = a x + b.
        domain, codomain: constraints on x and on y.
    """

    size: int
    affine: bool = False
    domain: Constraint = constraints.real
    codomain: Constraint = constraints.real

    @abstractmethod
    def forward_and_log_det(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(x; parameters), and log |dy/dx|."""

    @abstractmethod
    def inverse_and_log_det(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The x with y = f(x; parameters), and log |dx/dy|."""

    @property
    def inv(self) -> Map:
        """The family of the inverse functions."""
        return Inverted(self)


class Inverted(Map):
    """The inverse functions of a map."""

    def __init__(self, inverted: Map) -> None:
        self.inverted, self.size = inverted, inverted.size
        self.affine, self.domain, self.codomain = inverted.affine, inverted.codomain, inverted.domain

    def forward_and_log_det(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverted.inverse_and_log_det(x, parameters)

    def inverse_and_log_det(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverted.forward_and_log_det(y, parameters)

    @property
    def inv(self) -> Map:
        return self.inverted

    def __repr__(self) -> str:
        return f"{self.inverted!r}.inv"
