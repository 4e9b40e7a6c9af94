"""Shifts, and shifts with a scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowlab.bijectors.maps.base import Map


class Additive(Map):
    """y = x + shift, of log det 0: volume is kept.

    Reference:
        | NICE: Non-linear Independent Components Estimation (Laurent Dinh, David Krueger, Yoshua Bengio, 2014)
        | https://arxiv.org/abs/1410.8516
    """

    size = 1
    affine = True

    def forward_and_log_det(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        y = x + parameters[..., 0]
        return y, torch.zeros_like(y)

    def inverse_and_log_det(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        x = y - parameters[..., 0]
        return x, torch.zeros_like(x)

    def __repr__(self) -> str:
        return "Additive()"


class Affine(Map):
    r"""y = exp(a) x + shift, where the log scale a = limit tanh(raw / limit) lies between -limit and limit.

    forward  y = exp(a) x + shift       log det  a
    inverse  x = exp(-a) (y - shift)    log det  -a

    An unbounded log scale lets one bad step blow up the flow; here a scale lies within exp(-limit) and exp(limit).

    Arguments:
        limit: the bound of the log scale, in nats.

    Raises:
        ValueError: a limit that is not positive and finite.

    Reference:
        | Density estimation using Real NVP (Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio, 2016)
        | https://arxiv.org/abs/1605.08803
    """

    size = 2
    affine = True

    def __init__(self, limit: float = 3.0) -> None:
        if not 0 < limit < math.inf:
            raise ValueError(f"Affine: limit={limit!r} must be positive and finite")
        self.limit = limit

    def forward_and_log_det(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._read(parameters)
        y = log_scale.exp() * x + shift
        return y, log_scale.expand_as(y)

    def inverse_and_log_det(self, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._read(parameters)
        x = (-log_scale).exp() * (y - shift)
        return x, (-log_scale).expand_as(x)

    def _read(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = parameters.unbind(-1)
        return shift, self.limit * torch.tanh(raw / self.limit)

    def __repr__(self) -> str:
        return f"Affine(limit={self.limit:g})"
