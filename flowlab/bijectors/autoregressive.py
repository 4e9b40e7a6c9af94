"""Autoregressive bijectors: the parameters of a coordinate's map depend on the coordinates before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from flowlab.autocast import is_autocast_on, upcast
from flowlab.bijectors.base import METHODS, Bijector
from flowlab.bijectors.maps.base import Map
from flowlab.networks.masked import MaskedMLP
from flowlab.torch_distributions import can_branch_on_values, is_recorded_by_autograd_alone

ROUNDING = 4  # a coordinate has converged when it moves by at most so many units of rounding
LEAVE = 0.9  # so many of the points still move when the others leave the rounds
FEW = 2  # so many rounds are recorded in less time than one round and the products of its gradient


class MaskedAutoregressive(Bijector):
    r"""y_i = f(x_i; theta_i(y_<i, c)): a map for each coordinate, with parameters from the coordinates of y before it.

    forward  y_i = f(x_i; theta_i(y_<i))        log det  the sum of the map's log dets over i
    inverse  x_i = f^-1(y_i; theta_i(y_<i))     log det  minus the forward one at x

    This is a masked autoregressive flow, MAF: all y are known to the inverse, so a density takes one pass of the
    network. Its `inv` is an inverse autoregressive flow, IAF, whose samples take one pass.

    The forward direction solves y = f(x; theta(y)) by fixed-point iteration. A round makes at least one more coordinate
    exact, so d rounds are enough. A point stops as soon as it no longer changes, which is usually much earlier. The log
    det comes from the last round.

    Gradients are exact: only the last round is recorded, and the gradient v of the loss by y solves v = g + J^T v,
    where g is the gradient that arrives and J the derivative of a round by the y before it. J is triangular with a
    diagonal of 0, so fewer than d products with J^T solve this exactly, and the iteration stops early too.

    So `backward` differentiates the slow direction once; with `create_graph=True` it raises a RuntimeError. Transforms
    of `torch.func` and compiled graphs record all d rounds, as `backward` does for d <= 2; `torch.func.hessian` works.

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
        y, log_dets = self.forward_and_log_dets(x, context)
        return y, log_dets.sum(-1)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_dets = self.inverse_and_log_dets(y, context)
        return x, log_dets.sum(-1)

    def forward_and_log_dets(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As forward_and_log_det, with the log det of each coordinate, of the shape of x."""
        weights = self.conditioner.masked_weights()
        if self.forward_passes <= FEW or not is_recorded_by_autograd_alone(x):
            return self._solve(weights, x, context)
        with torch.no_grad():
            solution = self._solve(weights, x, context)[0].requires_grad_()
        if is_autocast_on(x):
            torch.clear_autocast_cache()  # it holds copies of parameters that were made without gradients
        y, log_det = self._round(weights, x, solution, context)
        return _AtSolution.apply(y, log_det, solution)

    def inverse_and_log_dets(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As inverse_and_log_det, with the log det of each coordinate, of the shape of y."""
        return self.map.inverse_and_log_det(y, upcast(self.conditioner(y, context)).to(y.dtype))

    def _solve(self, weights: Sequence[Tensor], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The fixed point y of `_round`, and the log dets of the coordinates there."""
        y, log_det = self._round(weights, x, x, context)
        if can_branch_on_values(x) and self.forward_passes > 1:
            found = self._solve_moving(weights, x, y, log_det, context)
            return found[0].view(y.shape), found[1].view(y.shape)
        for _ in range(1, self.forward_passes):
            y, log_det = self._round(weights, x, y, context)
        return y, log_det

    def _solve_moving(
        self, weights: Sequence[Tensor], x: Tensor, y: Tensor, log_det: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """More rounds from y for the points that still move.

        A point that has converged keeps its value. Once a tenth of the points has, they leave the next rounds.
        """
        found, found_log_det = (each.reshape(-1, each.shape[-1]) for each in (y, log_det))
        here = torch.arange(len(found), device=x.device)
        x, context = _rows(x, y), _rows(context, y)
        y, log_det, moving, left = found, found_log_det, here, len(here)
        for number in range(1, self.forward_passes):
            before, log_det_before = y, log_det
            y, log_det = self._round(weights, x, before, context)
            if left < len(y):
                y, log_det = torch.where(moving, y, before), torch.where(moving, log_det, log_det_before)
            moving = _changes(y, before, 1 + y.abs())
            left = int(moving.sum())
            if left <= LEAVE * len(y) or number == self.forward_passes - 1:
                found[here], found_log_det[here] = y, log_det
                if not left:
                    break
                kept = moving[:, 0]
                here, x, y, log_det, moving = (each[kept] for each in (here, x, y, log_det, moving))
                context = None if context is None else context[kept]
        return found, found_log_det

    def _round(self, weights: Sequence[Tensor], x: Tensor, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        parameters = upcast(self.conditioner.run(weights, y, context)).to(x.dtype)
        return self.map.forward_and_log_det(x, parameters)

    @property
    def affine_order(self) -> Sequence[int] | None:
        """The place of each coordinate, if it is affine in itself given the coordinates before it; None if not."""
        return self.conditioner.order if self.map.affine else None

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.conditioner.reset_parameters(generator)

    @property
    def layer_name(self) -> str:
        return f"MaskedAutoregressive of {self.map!r}"


class _AtSolution(torch.autograd.Function):
    """y and log dets of a round at the solution, with the gradients of the solution."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, log_det: Tensor, solution: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(y, log_det, solution)
        return y.view_as(y), log_det.view_as(log_det)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor, None]:
        if torch.is_grad_enabled():  # second derivatives would miss that the solution moves
            raise RuntimeError(
                "MaskedAutoregressive: backward differentiates the slow direction once, and create_graph=True asks for "
                "more; use a transform of torch.func, such as torch.func.hessian"
            )
        y, log_det, solution = ctx.saved_tensors

        def pull_back(value: Tensor, gradient: Tensor) -> Tensor:
            if not value.requires_grad:  # a constant log det
                return torch.zeros_like(solution)
            found = torch.autograd.grad(value, solution, gradient, retain_graph=True, allow_unused=True)[0]
            return torch.zeros_like(solution) if found is None else found

        arriving = grad_y + pull_back(log_det, grad_log_det)
        total, stops_early = arriving, can_branch_on_values(arriving)
        moving = torch.ones_like(total[..., :1], dtype=torch.bool)
        for _ in range(1, total.shape[-1]):
            before = total
            total = arriving + pull_back(y, before)
            if stops_early:
                total = torch.where(moving, total, before)
                moving = _changes(total, before, total.abs().amax(-1, keepdim=True))
                if not moving.any():
                    break
        return total, grad_log_det, None


def _changes(after: Tensor, before: Tensor, size: Tensor) -> Tensor:
    """Which points have a coordinate that moved by more than rounding, of shape (*, 1)."""
    return ((after - before).abs_() > size * (ROUNDING * torch.finfo(after.dtype).eps)).any(-1, keepdim=True)


def _rows(values: Tensor | None, like: Tensor) -> Any:
    """Return values for each point, of shape (n, k); their batch is broadcast to the batch of other points."""
    return None if values is None else values.expand(*like.shape[:-1], -1).reshape(-1, values.shape[-1])
