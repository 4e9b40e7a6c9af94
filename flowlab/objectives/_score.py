"""The gradient of a flow's log density by the point, at points of the flow."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import vjp, vmap

from flowlab.autocast import full_precision
from flowlab.flow import Flow


def score(flow: Flow, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
    r"""d log q(y) / dy at y = f(x), of the shape of y: a constant, through which no gradient flows.

    A flow with a fast inverse differentiates its log density. Otherwise nothing is inverted. The log density as a
    function of the base point is L(x) = log q(f(x)), so with the Jacobian J = df / dx

        dL / dx = J^T dlog q / dy,

    a linear system for each point. The forward direction gives L and J; for d coordinates this takes d + 1
    vector-Jacobian products.

    Arguments:
        flow: q, the image of a base under f.
        x: points of the base, of shape (*, event).
        y: their images.
        context: the contexts, or None.

    Reference:
        | Gradients should stay on path: better estimators of the reverse- and forward KL divergence for normalizing
        | flows (Lorenz Vaitl, Kim A. Nicoli, Shinichi Nakajima, Pan Kessel, 2022)
        | https://arxiv.org/abs/2207.08219
    """
    with torch.no_grad(), full_precision(x):
        x, y = x.detach(), y.detach()
        if flow.bijector.inverse_passes == 1 or x.shape != y.shape:
            log_prob, pull_back = vjp(lambda points: flow.log_prob(points, context), y)  # type: ignore[misc]
            return pull_back(torch.ones_like(log_prob))[0]
        (image, log_prob), pull_back = vjp(lambda points: flow.push_forward(points, context), x)  # type: ignore[misc]
        (of_base,) = pull_back((torch.zeros_like(image), torch.ones_like(log_prob)))
        event = y.shape[y.ndim - flow.event_dim :]
        size = event.numel()
        units = torch.eye(size, dtype=y.dtype, device=y.device).view(size, *(1,) * (y.ndim - len(event)), *event)
        none = torch.zeros_like(log_prob)
        rows = vmap(lambda unit: pull_back((unit.expand_as(image), none))[0])(units)  # of shape (size, *, event)
        jacobian = rows.flatten(-len(event)).movedim(0, -2)
        return torch.linalg.solve(jacobian.mT, of_base.flatten(-len(event))[..., None]).view(y.shape)


def along_path(flow: Flow, x: Tensor, y: Tensor, log_prob: Tensor, context: Tensor | None = None) -> Tensor:
    """log q(y), whose gradient holds the parameters of the density fixed and goes through y alone; of shape (*).

    This is the path-derivative gradient, also called sticking the landing.

    Arguments:
        flow, x, y, context: see score; a gradient goes through y.
        log_prob: log q(y).

    Reference:
        | Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference (Geoffrey Roeder,
        | Yuhuai Wu, David Duvenaud, 2017)
        | https://arxiv.org/abs/1703.09194
    """
    moved = _moved(flow, x, y, context)
    return log_prob.detach() + (moved - moved.detach())


def at_fixed_points(flow: Flow, x: Tensor, y: Tensor, log_prob: Tensor, context: Tensor | None = None) -> Tensor:
    """log q(y) for points y that stay where they are, when the parameters change; of shape (*).

    The log density of y = f(x) changes with the parameters in two ways: through q, and through y. The second part is
    taken away. Nothing is inverted: see `score`.

    Arguments:
        flow, x, y, context: see score.
        log_prob: log q(y), recorded together with y.
    """
    moved = _moved(flow, x, y, context)
    return log_prob - (moved - moved.detach())


def _moved(flow: Flow, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
    """The score times y: the gradient of log q(y) through y."""
    return (score(flow, x, y, context) * y).flatten(-flow.event_dim).sum(-1)
