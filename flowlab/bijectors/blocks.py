"""Several bijectors side by side, each on coordinates of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import CatTransform

from flowlab.bijectors.base import Bijector
from flowlab.torch_distributions import is_unbounded


class blocks(Constraint):
    """A constraint for each block of consecutive coordinates of a vector, also one on the block as a whole.

    torch's `cat` takes constraints on single coordinates alone, and a simplex is none.
    """

    event_dim = 1

    def __init__(self, parts: Sequence[Constraint], lengths: Sequence[int]) -> None:
        self.parts, self.lengths = list(parts), list(lengths)

    def check(self, value: Tensor) -> Tensor:
        inside: Any = True
        for part, block in zip(self.parts, value.split(self.lengths, -1), strict=True):
            held = part.check(block)
            inside = inside & (held if part.event_dim else held.all(-1))
        return inside

    def __repr__(self) -> str:
        return f"blocks({self.parts}, {self.lengths})"


for registry in (transform_to, biject_to):
    registry.register(blocks)(
        lambda constraint, onto=registry: CatTransform(list(map(onto, constraint.parts)), -1, constraint.lengths)
    )


class Blocks(Bijector):
    """y = (f_1(x_1), f_2(x_2), ...), where x_1, x_2, ... are blocks of consecutive coordinates of a vector x.

    forward  y_k = f_k(x_k)         log det  the sum of the log dets of all f_k
    inverse  x_k = f_k^-1(y_k)      log det  likewise

    Arguments:
        parts: the bijectors f_k, of numbers or of vectors.
        sizes: the number of coordinates of each block of x.

    Raises:
        ValueError: there are not as many sizes as parts, or a size is below 1.

    Example:
        >>> import torch
        >>> from flowlab.bijectors import Blocks, Exp, SoftmaxCentered
        >>> Blocks([Exp(), SoftmaxCentered()], [1, 1])(torch.zeros(2))
        tensor([1.0000, 0.5000, 0.5000])
    """

    event_dim = 1
    parts: Sequence[Bijector]

    def __init__(self, parts: Sequence[Bijector], sizes: Sequence[int]) -> None:
        super().__init__()
        if len(parts) != len(sizes) or not sizes or min(sizes) < 1:
            raise ValueError(f"Blocks: sizes={list(sizes)} must be a number from 1 for each of {len(parts)} bijectors")
        self.parts = nn.ModuleList(parts)  # type: ignore[assignment]
        self.sizes = list(sizes)
        self.image_sizes = [part.forward_shape(torch.Size([size]))[0] for part, size in zip(parts, sizes, strict=True)]
        self.event_shape, self._image_shape = (sum(self.sizes),), (sum(self.image_sizes),)
        self.domain = _join([part.domain for part in parts], self.sizes)
        self.codomain = _join([part.codomain for part in parts], self.image_sizes)
        self.onto = all(part.onto for part in parts)
        self.constant_log_det = all(part.constant_log_det for part in parts)
        self.affine = all(part.affine for part in parts)
        self.has_inverse = all(part.has_inverse for part in parts)

    @property
    def image_event_shape(self) -> tuple[int, ...]:
        return self._image_shape

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*super().forward_shape(shape)[:-1], *self._image_shape))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*super().inverse_shape(shape)[:-1], *(self.event_shape or ())))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map_parts("forward_and_log_det", x, self.sizes, context)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._map_parts("inverse_and_log_det", y, self.image_sizes, context)

    def _map_parts(self, method: str, value: Tensor, sizes: list[int], context: Tensor | None) -> tuple[Tensor, Tensor]:
        images, total = [], None
        for part, block in zip(self.parts, value.split(sizes, -1), strict=True):
            image, log_det = getattr(part, method)(block, context)
            images.append(image)
            if not part.event_dim:
                log_det = log_det.expand(block.shape).sum(-1)
            total = log_det if total is None else total + log_det
        assert total is not None
        return torch.cat(images, -1), total.expand(value.shape[:-1])


def _join(parts: Sequence[Constraint], lengths: Sequence[int]) -> Constraint:
    return constraints.real_vector if all(map(is_unbounded, parts)) else blocks(parts, lengths)
