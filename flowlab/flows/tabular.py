"""The flow for a table: it starts at the best ellipse of the rows, and its size follows their number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.flows.autoregressive import AutoregressiveFlow

if TYPE_CHECKING:
    import torch

    from flowlab.bijectors import Bijector
    from flowlab.flow import Flow
    from flowlab.targets.base import Batch

ROWS = 10_000  # where the number of training rows is not known


@register("flow", "tabular")
@dataclass(kw_only=True)
class TabularFlow(AutoregressiveFlow):
    """Autoregressive splines between a multivariate t base and a fixed affine map, both fitted to the training rows.

    The splines start at the identity. So the flow starts as the t distribution of the highest likelihood, of which the
    full-covariance Gaussian is a special case. With a context it starts as the linear regression on the context, with
    errors of that distribution. Weight decay pulls it back there, since base, affine map and regression are fixed.

    Arguments:
        depth: the number of layers; null is 1 below 100 rows a column, 2 below 400, and 3 from there on.
        hidden: the sizes of a network's hidden layers; null is two layers, with at least one unit a column. They have
            32 units below 1000 rows, 64 below 10 000 and 128 from there on.
        map, bins, bound, activation, residual, act_norm, fast: see AutoregressiveFlow.

    Reference:
        | Neural Spline Flows (Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032
        | Tails of Lipschitz Triangular Flows (Priyank Jaini, Ivan Kobyzev, Yaoliang Yu, Marcus Brubaker, 2020)
        | https://arxiv.org/abs/1907.04481
    """

    depth: int = setting(None, minimum=1, maximum=1000, follows_data=True)
    hidden: list[int] = setting(None, minimum=1, follows_data=True)

    def follow_data(self, rows: int, columns: int) -> TabularFlow:
        """The size for a number of training rows and columns; see the arguments of the class."""
        depth = 1 if rows < 100 * columns else 2 if rows < 400 * columns else 3
        units = max(32 if rows < 1000 else 64 if rows < 10_000 else 128, columns)
        return replace(self, depth=self.depth or depth, hidden=[units, units] if self.hidden is None else self.hidden)

    def build(
        self,
        event_shape: tuple[int, ...],
        context_shape: tuple[int, ...] | None = None,
        generator: torch.Generator | None = None,
    ) -> Flow:
        import torch

        from flowlab.bijectors import ContextShift, LowRankAffine
        from flowlab.distributions.base import Base
        from flowlab.distributions.multivariate_t import NORMAL, MultivariateT
        from flowlab.flow import Flow

        (dim,) = event_shape
        sized = self.follow_data(ROWS, dim)
        splines = super(TabularFlow, sized).build(event_shape, context_shape, generator).bijector
        start: Bijector = LowRankAffine(dim, factor_scale=0.0)
        if context_shape:
            start = start | ContextShift(dim, *context_shape)
        base = Base(MultivariateT(torch.tensor(NORMAL), dim))
        return Flow(base, splines | start.requires_grad_(False))

    @property
    def initialized_from_data(self) -> bool:
        return True

    def initialize(self, flow: Flow, data: Batch, generator: torch.Generator | None = None) -> None:
        import torch

        from flowlab.bijectors import ContextShift, LowRankAffine, stages
        from flowlab.bijectors.linear.packed import pack_triangular
        from flowlab.flows._elliptical import fit_ellipse

        x, parts = data.x, stages(flow.bijector)
        while not isinstance(parts[-1], ContextShift | LowRankAffine):  # the units of the data
            x = parts.pop().inverse(x).detach()
        degrees, location, slopes, factor = fit_ellipse(x, data.context)
        with torch.no_grad():
            flow.base.get_buffer("degrees").fill_(degrees)
            if isinstance(parts[-1], ContextShift):
                parts.pop().get_parameter("weight").copy_(slopes)
            affine = parts[-1]
            assert isinstance(affine, LowRankAffine)
            affine.shift.copy_(location)
            affine.scale.copy_(pack_triangular(factor))
        super().initialize(flow, data, generator)
