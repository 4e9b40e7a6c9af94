"""A fully connected network whose output i depends on the inputs before i alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from flowlab.networks.mlp import MLP


class MaskedMLP(MLP):
    r"""The network of MADE: the parameters of coordinate i depend on the coordinates before it in the order, and on c.

    A hidden unit of degree m sees the coordinates whose place in the order is below m. Coordinate i sees the hidden
    units of degree at most its place. The degrees are spread evenly over 1 to d - 1, so every unit is of use. With a
    context, 0 is a degree as well, for units that see the context alone. With at least d - 1 units in each layer, a
    coordinate depends on every one before it.

    Arguments:
        dim: d, the number of coordinates.
        size: the number of parameters for each coordinate.
        hidden, context, activation, residual, generator: as in MLP.
        order: the place of each coordinate, a permutation of 0 to d - 1; None is 0, 1, 2, ...

    Shapes: x of (*, d) and c of (*, context) to (*, d, size).

    Raises:
        ValueError: an order that is no permutation; or as in MLP.

    Reference:
        | MADE: Masked Autoencoder for Distribution Estimation (Germain, Gregor, Murray, Larochelle, 2015)
        | https://arxiv.org/abs/1502.03509
    """

    def __init__(
        self,
        dim: int,
        size: int,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        activation: str = "relu",
        residual: bool = False,
        order: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim, dim * size, hidden, context, activation, residual, generator)
        order = list(range(dim) if order is None else order)
        if sorted(order) != list(range(dim)):
            raise ValueError(f"MaskedMLP: order={order!r} must hold each of 0 to {dim - 1} once")
        self.dim, self.size, self.order = dim, size, order
        # Built on the CPU: a mask is a constant that depends on sizes alone.
        lowest = 0 if context or dim == 1 else 1
        degrees = [torch.tensor(order) + 0.5]  # a unit of degree m sees the places below m
        degrees += [torch.arange(count) * (dim - lowest) // count + lowest for count in hidden]
        degrees.append(torch.tensor(order).repeat_interleave(size))
        for number, (before, after) in enumerate(pairwise(degrees)):
            self.register_buffer(f"mask{number}", (after[:, None] >= before).to(torch.get_default_dtype()))

    def masked_weights(self) -> Sequence[Tensor]:
        return [weight * getattr(self, f"mask{number}") for number, weight in enumerate(self.weights)]

    def run(self, weights: Sequence[Tensor], x: Tensor, context: Tensor | None) -> Tensor:
        return super().run(weights, x, context).unflatten(-1, (-1, self.size))
