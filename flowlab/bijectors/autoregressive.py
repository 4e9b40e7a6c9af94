"""Autoregressive bijectors: the parameters of a coordinate's map depend on the coordinates before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import constraints

from flowlab.autocast import upcast
from flowlab.bijectors.base import METHODS, Bijector
from flowlab.bijectors.maps.base import Map
from flowlab.networks.masked import MaskedMLP
from flowlab.torch_distributions import can_branch_on_values

ROUNDING = 4  # a coordinate has converged when it moves by at most so many units of rounding


class MaskedAutoregressive(Bijector):
    r"""y_i = f(x_i; theta_i(y_<i, c)): a map for each coordinate, with parameters from the coordinates of y before it.

    forward  y_i = f(x_i; theta_i(y_<i))        log det  the sum of the map's log dets over i
    inverse  x_i = f^-1(y_i; theta_i(y_<i))     log det  minus the forward one at x

    This is a masked autoregressive flow, MAF: all y are known to the inverse, so a density takes one pass of the
    network. Its `inv` is an inverse autoregressive flow, IAF, whose samples take one pass.

    The forward direction solves y = f(x; theta(y)) by fixed-point iteration. A round makes at least one more coordinate
    exact, so d rounds are enough; without gradients a point stops as soon as it no longer changes, which is usually
    much earlier. With gradients all d rounds are taken, so that they are exact. The log det comes from the last round.

    Arguments:
        conditioner: the network theta.
        map: the map f of a coordinate.

    Raises:
        ValueError: the network does not give the map's number of parameters.

    Reference:
        | Masked Autoregressive Flow for Density Estimation (George Papamakarios, Theo Pavlakou, Iain Murray, 2017)
        | https://arxiv.org/abs/1705.07057
        | Improved Variational Inference with Inverse Autoregressive Flow (Diederik Kingma et al., 2016)
        | https://arxiv.org/abs/1606.04934

    Example:
        >>> import torch
        >>> from flowlab.bijectors import MaskedAutoregressive
        >>> from flowlab.bijectors.maps import Affine
        >>> from flowlab.networks import MaskedMLP
        >>> maf = MaskedAutoregressive(MaskedMLP(3, size=2, hidden=[8]), Affine())
        >>> maf(torch.tensor([1.0, 2.0, 3.0])).detach()  # it starts at the identity
        tensor([1., 2., 3.])
    """

    event_dim = 1
    domain = codomain = constraints.real_vector
    handles_autocast = METHODS

    def __init__(self, conditioner: MaskedMLP, map: Map) -> None:
        super().__init__()
        if conditioner.size != map.size:
            raise ValueError(
                f"MaskedAutoregressive: the network gives {conditioner.size} parameters a coordinate, and {map!r} "
                f"needs {map.size}; use MaskedMLP(dim, size={map.size})"
            )
        self.conditioner, self.map = conditioner, map
        self.event_shape = (conditioner.dim,)
        self.forward_passes = conditioner.dim

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weights = self.conditioner.masked_weights()
        stops_early = can_branch_on_values(x)
        y, log_det = self._round(weights, x, x, context)
        moving = torch.ones_like(y[..., :1], dtype=torch.bool)
        for _ in range(1, self.forward_passes):
            before, log_det_before = y, log_det
            y, log_det = self._round(weights, x, before, context)
            if stops_early:
                # A point that has converged keeps its value, so it does not depend on the others of the batch.
                y, log_det = torch.where(moving, y, before), torch.where(moving, log_det, log_det_before)
                change = (y - before).abs() / (1 + y.abs())
                moving = (change > ROUNDING * torch.finfo(y.dtype).eps).any(-1, keepdim=True)
                if not moving.any():
                    break
        return y, log_det.sum(-1)

    def _round(self, weights: Sequence[Tensor], x: Tensor, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        parameters = upcast(self.conditioner.run(weights, y, context)).to(x.dtype)
        return self.map.forward_and_log_det(x, parameters)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.map.inverse_and_log_det(y, upcast(self.conditioner(y, context)).to(y.dtype))
        return x, log_det.sum(-1)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.conditioner.reset_parameters(generator)

    @property
    def layer_name(self) -> str:
        return f"MaskedAutoregressive of {self.map!r}"
