"""Coupling: some coordinates pass, and give the parameters of a map for all others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from flowlab.autocast import upcast
from flowlab.bijectors.base import METHODS, Bijector
from flowlab.bijectors.maps.base import Map


class Coupling(Bijector):
    r"""y_a = x_a, y_b = f(x_b; theta(x_a, c)): coordinates in b move, by a map whose parameters depend on a.

    forward  y_b = f(x_b; theta)         log det  the sum of the map's log dets over b
    inverse  x_b = f^-1(y_b; theta)      log det  minus the forward one at x

    Both directions take one pass of the network, since y_a = x_a. The Jacobian is triangular.

    Arguments:
        mask: for each coordinate whether it moves.
        conditioner: the network theta, from x_a of shape (*, kept) and a context to (*, moved * map.size), such as
            `flowlab.networks.MLP(kept, moved * map.size)`; None makes that one.
        map: the map f of a coordinate.

    Raises:
        ValueError: no coordinate moves.

    Reference:
        | Density estimation using Real NVP (Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio, 2016)
        | https://arxiv.org/abs/1605.08803

    Example:
        >>> import torch
        >>> from flowlab.bijectors import Coupling
        >>> from flowlab.bijectors.maps import Affine
        >>> coupling = Coupling([False, True], map=Affine())
        >>> coupling(torch.tensor([1.0, 2.0])).detach()  # it starts at the identity
        tensor([1., 2.])
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    handles_autocast = METHODS

    def __init__(self, mask: Sequence[bool], conditioner: nn.Module | None = None, *, map: Map) -> None:
        super().__init__()
        mask = [bool(moves) for moves in mask]
        if not any(mask):
            raise ValueError(f"Coupling: mask={mask!r} moves no coordinate; at least one must be True")
        if conditioner is None:
            from flowlab.networks import MLP

            conditioner = MLP(len(mask) - sum(mask), sum(mask) * map.size)
        self.mask, self.map, self.conditioner = mask, map, conditioner
        self.event_shape = (len(mask),)
        # Neighbours that both move or both stay are cut out together.
        self._runs = [(moves, len(list(run))) for moves, run in groupby(mask)]

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._move(x, context, self.map.forward_and_log_det)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._move(y, context, self.map.inverse_and_log_det)

    def _move(self, points: Tensor, context: Tensor | None, function) -> tuple[Tensor, Tensor]:
        parts = points.split([length for _, length in self._runs], -1)
        kept = _join([part for part, (moves, _) in zip(parts, self._runs, strict=True) if not moves], points)
        moving = _join([part for part, (moves, _) in zip(parts, self._runs, strict=True) if moves], points)
        parameters = upcast(self.conditioner(kept, context)).unflatten(-1, (moving.shape[-1], self.map.size))
        moved, log_det = function(moving, parameters.to(points.dtype))
        pieces = iter(moved.split([length for moves, length in self._runs if moves], -1))
        batch = moved.shape[:-1]  # the batches of points and context, broadcast
        both = zip(parts, self._runs, strict=True)
        return torch.cat([next(pieces) if moves else part.expand(*batch, -1) for part, (moves, _) in both], -1), (
            log_det.sum(-1)
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.conditioner.reset_parameters(generator)  # type: ignore[operator]

    @property
    def layer_name(self) -> str:
        return f"Coupling of {self.map!r}"


def _join(parts: list[Tensor], like: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1) if parts else like[..., :0]
