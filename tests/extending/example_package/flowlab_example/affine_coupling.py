"""An architecture: a dataclass of typed settings that builds a flow, conditional if the target is conditional."""

from dataclasses import dataclass

from flowlab.config.component import setting
from flowlab.config.errors import ConfigError
from flowlab.flows.base import Architecture


@dataclass(kw_only=True)
class AffineCoupling(Architecture):
    """Affine coupling layers: one half of the coordinates and the context determine shift and scale of the other half.

    Arguments:
        layers: the number of layers; successive layers transform alternate halves.
        hidden: the width of a conditioner's only hidden layer.
        log_scale: the initial log scale of every layer.

    Reference:
        | Density estimation using Real NVP (Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio, 2016)
        | https://arxiv.org/abs/1605.08803
    """

    layers: int = setting(2, minimum=1, maximum=100)
    hidden: int = setting(8, minimum=1)
    log_scale: float = setting(0.0, per_job=True)

    def check(self, event_shape):
        if len(event_shape) != 1 or event_shape[0] < 2:
            raise ConfigError(f"flow={self.name}: needs vectors of at least 2 coordinates, not shape {event_shape}")

    def build(self, event_shape, context_shape=None, generator=None):
        import torch
        from torch import nn

        from flowlab.bijectors import Bijector, Chain, broadcast_context
        from flowlab.distributions.base import StandardNormal
        from flowlab.flow import Flow

        (dim,) = event_shape
        known = context_shape[0] if context_shape else 0

        class Coupling(Bijector):
            event_dim = 1
            event_shape = (dim,)

            def __init__(self, hidden, log_scale, flipped):
                super().__init__()
                left = dim // 2 if flipped else dim - dim // 2
                self.sizes, self.flipped = [left, dim - left], flipped
                fixed = self.sizes[flipped]
                self.network = nn.Sequential(
                    nn.Linear(fixed + known, hidden), nn.Tanh(), nn.Linear(hidden, 2 * (dim - fixed))
                )
                nn.init.zeros_(self.network[2].weight)
                with torch.no_grad():
                    self.network[2].bias.zero_()[dim - fixed :] = log_scale

            def _shift_and_log_scale(self, fixed, context):
                if context is not None:
                    fixed = torch.cat([fixed, broadcast_context(fixed, context, 1)], -1)
                return self.network(fixed).chunk(2, -1)

            def forward_and_log_det(self, x, context=None):
                halves = list(x.split(self.sizes, -1))
                shift, log_scale = self._shift_and_log_scale(halves[self.flipped], context)
                halves[not self.flipped] = halves[not self.flipped] * log_scale.exp() + shift
                return torch.cat(halves, -1), log_scale.sum(-1)

            def inverse_and_log_det(self, y, context=None):
                halves = list(y.split(self.sizes, -1))
                shift, log_scale = self._shift_and_log_scale(halves[self.flipped], context)
                halves[not self.flipped] = (halves[not self.flipped] - shift) * (-log_scale).exp()
                return torch.cat(halves, -1), -log_scale.sum(-1)

        parts = [Coupling(self.hidden, self.log_scale, bool(number % 2)) for number in range(self.layers)]
        return Flow(StandardNormal(dim), Chain(parts))
