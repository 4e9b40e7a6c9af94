"""The flow for a table: it starts at the best ellipse of the rows, and its size follows their number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowlab.config.component import setting
from flowlab.config.registry import register
from flowlab.flows._conditioned import ACTIVATIONS
from flowlab.flows.autoregressive import AutoregressiveFlow

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from flowlab.bijectors import Bijector
    from flowlab.flow import Flow
    from flowlab.targets.base import Batch

ROWS = 10_000  # where the number of training rows is not known
WIDEST = 2.0  # times a standard deviation, the units of the splines: wider bins would see too little of the middle


@register("flow", "tabular")
@dataclass(kw_only=True)
class TabularFlow(AutoregressiveFlow):
    """Autoregressive splines between a multivariate t base and a fixed affine map, both fitted to the training rows.

    The splines start at the identity. So the flow starts as the t distribution of the highest likelihood, of which the
    full-covariance Gaussian is a special case. With a context it starts as the linear regression on the context, with
    errors of that distribution. The regression comes before the splines, so they see points in the same units for every
    context. Weight decay pulls the flow back to its start, since base, affine maps and regression are fixed.

    The units of the splines are the standard deviations of the ellipse. Where training rows lie outside of the box, the
    units are wider, and the box holds all of them. Units are at most twice as wide.

    Arguments:
        depth: the number of layers; null is 1 below 100 rows a column, 2 below 400, and 3 from there on.
        hidden: the sizes of a network's hidden layers; null is two layers, with at least one unit a column. They have
            32 units below 1000 rows, 64 below 10 000 and 128 from there on.
        activation: the networks' nonlinearity.
        map, bins, bound, residual, act_norm, fast: see AutoregressiveFlow.

    Reference:
        | Neural Spline Flows (Conor Durkan, Artur Bekasov, Iain Murray, George Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032
        | Tails of Lipschitz Triangular Flows (Priyank Jaini, Ivan Kobyzev, Yaoliang Yu, Marcus Brubaker, 2020)
        | https://arxiv.org/abs/1907.04481
    """

    depth: int = setting(None, minimum=1, maximum=1000, follows_data=True)
    hidden: list[int] = setting(None, minimum=1, follows_data=True)
    activation: str = setting("silu", choices=ACTIVATIONS)

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

        from flowlab.bijectors import Chain, ContextShift
        from flowlab.distributions.base import Base
        from flowlab.distributions.multivariate_t import NORMAL, MultivariateT
        from flowlab.flow import Flow

        (dim,) = event_shape
        sized = self.follow_data(ROWS, dim)
        splines = super(TabularFlow, sized).build(event_shape, context_shape, generator).bijector
        shift = [ContextShift(dim, *context_shape).requires_grad_(False)] if context_shape else []
        chain = Chain([_fixed_affine(dim), *shift, splines, _fixed_affine(dim)])
        return Flow(Base(MultivariateT(torch.tensor(NORMAL), dim)), chain)

    @property
    def initialized_from_data(self) -> bool:
        return True

    def initialize(self, flow: Flow, data: Batch, generator: torch.Generator | None = None) -> None:
        import torch

        from flowlab.bijectors import LowRankAffine, stages
        from flowlab.flows._elliptical import fit_ellipse

        x, parts = data.x, stages(flow.bijector)
        while not isinstance(parts[-1], LowRankAffine):  # the units of the data
            x = parts.pop().inverse(x).detach()
        ellipse = fit_ellipse(x)
        inner = ellipse.standardize(x.double())
        width = (inner.abs().amax() / self.bound).clamp(1.0, WIDEST)
        inner, start = inner / width, torch.eye(x.shape[1]).to(inner) / width
        _set_affine(parts[-1], ellipse.location, width * ellipse.factor)
        if data.context is None:
            _set_affine(parts[0], torch.zeros_like(ellipse.location), start)
        else:
            # Points given a context have no heavier tails than all points; residuals of a curved relation may have.
            ellipse = fit_ellipse(inner, data.context, ellipse.degrees)
            _set_affine(parts[0], ellipse.location, ellipse.factor)
            with torch.no_grad():
                parts[1].get_parameter("weight").copy_(ellipse.slopes)
        flow.base.get_buffer("degrees").fill_(ellipse.degrees)
        super().initialize(flow, data, generator)


def _fixed_affine(dim: int) -> Bijector:
    from flowlab.bijectors import LowRankAffine

    return LowRankAffine(dim, factor_scale=0.0).requires_grad_(False)


def _set_affine(affine: Bijector, shift: Tensor, factor: Tensor) -> None:
    """Make a fixed affine map x -> shift + factor x."""
    import torch

    from flowlab.bijectors.linear.packed import pack_triangular

    with torch.no_grad():
        affine.get_parameter("shift").copy_(shift)
        affine.get_parameter("scale").copy_(pack_triangular(factor))
