"""A bijector as a flow: a plain class; its constructor arguments are the keys."""

import torch
from torch import nn

from flowlab.bijectors import Bijector


class SinhArcsinh(Bijector):
    """y = scale sinh(tail arcsinh(x) + skew), elementwise; scale, tail and skew are learned for each coordinate.

    Arguments:
        dim: the number of coordinates; flowlab passes it.
        tail: initial value; above 1 the tails are heavier than normal.

    Reference:
        | Sinh-arcsinh distributions (M. C. Jones, Arthur Pewsey, 2009)
        | https://doi.org/10.1093/biomet/asp053
    """

    sign = +1

    def __init__(self, dim: int, tail: float = 1.0):
        super().__init__()
        self.log_scale, self.skew = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.log_tail = nn.Parameter(torch.full((dim,), tail).log())

    @property
    def parameter_shape(self):
        return self.skew.shape

    def forward_and_log_det(self, x, context=None):
        skewed = self.log_tail.exp() * x.asinh() + self.skew
        return self.log_scale.exp() * skewed.sinh(), self._log_det(x, skewed)

    def inverse_and_log_det(self, y, context=None):
        skewed = (y * (-self.log_scale).exp()).asinh()
        x = ((skewed - self.skew) * (-self.log_tail).exp()).sinh()
        return x, -self._log_det(x, skewed)

    def _log_det(self, x, skewed):
        return self.log_scale + self.log_tail + skewed.cosh().log() - 0.5 * x.square().log1p()
