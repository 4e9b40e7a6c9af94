"""A fully connected network whose last layer starts at zero."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from flowlab.torch_distributions import is_compiled


class _ReLU(nn.ReLU):
    """max(0, x), written over x, which the layer before has made: new memory takes longer than the maximum."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() if is_compiled() else x.relu_()


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": _ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLP(nn.Module):
    r"""A network from known coordinates x and a context c to the parameters of a map: W h + b, h = act(W x + U c + b).

    The last layer starts at zero, so a bijector with this network starts at the identity.

    Arguments:
        inputs: the number of known coordinates; 0 leaves the context, or constants.
        outputs: the number of parameters that it gives.
        hidden: the sizes of the hidden layers.
        context: the length of a context; 0 for none.
        activation: relu, elu, gelu, silu or tanh.
        residual: add the input of every hidden layer after the first to its output, where the sizes are equal.
        generator: draws the weights; None is torch's global stream.

    Shapes: x of (*, inputs) and c of (*, context), whose batches broadcast, to (*, outputs).

    Raises:
        ValueError: an unknown activation, or a size out of range.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        context: int = 0,
        activation: str = "relu",
        residual: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_sizes(type(self).__name__, hidden, activation)
        self.residual, self.activation = residual, ACTIVATIONS[activation]()
        sizes = [inputs, *hidden, outputs]
        self.weights = nn.ParameterList(torch.empty(n, m) for m, n in pairwise(sizes))
        self.biases = nn.ParameterList(torch.empty(n) for n in sizes[1:])
        self.context_weight = nn.Parameter(torch.empty(sizes[1], context)) if context else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weights and biases from U(-1/sqrt(n), 1/sqrt(n)), n inputs, as `nn.Linear` does; the last layer is 0."""
        *hidden, last = zip(self.weights, self.biases, strict=True)
        with torch.no_grad():
            for weight, bias in hidden:
                limit = max(1, weight.shape[1]) ** -0.5
                weight.uniform_(-limit, limit, generator=generator)
                bias.uniform_(-limit, limit, generator=generator)
            if self.context_weight is not None:
                limit = self.context_weight.shape[1] ** -0.5
                self.context_weight.uniform_(-limit, limit, generator=generator)
            for parameter in last:
                parameter.zero_()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.run(self.masked_weights(), x, context)

    def masked_weights(self) -> Sequence[Tensor]:
        """Return the matrices of the layers, so several calls can share the work on them."""
        return list(self.weights)

    def run(self, weights: Sequence[Tensor], x: Tensor, context: Tensor | None) -> Tensor:
        """The network with the given matrices."""
        for number, (weight, bias) in enumerate(zip(weights, self.biases, strict=True)):
            # With the product first in the sum, a compiler keeps the points in the order of the product.
            before, x = x, x @ weight.mT + bias if is_compiled() else nn.functional.linear(x, weight, bias)
            if number == 0 and self.context_weight is not None and context is not None:
                x = x + nn.functional.linear(context, self.context_weight)
            if number < len(weights) - 1:
                x = self.activation(x)
                if self.residual and number and before.shape == x.shape:
                    x = x + before
        return x


def check_sizes(owner: str, hidden: Sequence[int], activation: str) -> None:
    """Check the settings of a network."""
    if not hidden or min(hidden) < 1:
        raise ValueError(f"{owner}: hidden={list(hidden)!r} must be the sizes of one layer or more, each at least 1")
    if activation not in ACTIVATIONS:
        raise ValueError(f"{owner}: activation={activation!r} is unknown; allowed: {', '.join(ACTIVATIONS)}")
