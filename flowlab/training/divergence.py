"""A loss that is no longer finite, and the layer that caused it."""

from __future__ import annotations

import torch
from torch import nn

from flowlab.bijectors import stages
from flowlab.bijectors.compose import prepare
from flowlab.flow import Flow
from flowlab.targets.base import Batch
from flowlab.training.step import LossOf, trained


class DivergedError(RuntimeError):
    """Training stopped because the loss was no longer finite; the message names the step and the layer."""


@torch.no_grad()
def describe_divergence(module: nn.Module, batch: Batch, step: int, loss: LossOf, inverse: bool) -> str:
    """The step, and the first layer with a value that is not finite, in the order in which the loss goes through them.

    Arguments:
        module: a flow with the parameters that gave the loss; of another module the step is all that is known.
        batch: the minibatch: points of the target, or of the base.
        step: its number.
        loss: the loss of the module and the minibatch.
        inverse: the loss takes points of the target back to the base.
    """
    if loss(module, batch).isfinite().all():
        if not _has_finite_gradient(module, batch, loss):
            return f"the gradient is not finite at step {step}, though the loss is"
        return (
            f"the update at step {step} gave parameters that are not finite, though the loss and its gradient are; use "
            "a smaller optimizer.lr"
        )
    cause = _first_cause(module, batch, inverse) if isinstance(module, Flow) else "the module's own loss gave it"
    return f"the loss is not finite at step {step}: {cause}"


def _has_finite_gradient(module: nn.Module, batch: Batch, loss: LossOf) -> bool:
    with torch.enable_grad():
        gradients = torch.autograd.grad(loss(module, batch), trained(module), allow_unused=True)
    return all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)


def _first_cause(flow: Flow, batch: Batch, inverse: bool) -> str:
    numbered = list(enumerate(stages(flow.bijector), start=1))
    if not batch.x.isfinite().all():
        return "the minibatch itself holds values that are not finite"
    value, prepared = batch.x, prepare(stages(flow.bijector))  # one way of inverting can fail where another does not
    for number, layer in reversed(numbered) if inverse else numbered:
        where = f"layer {number} of {len(numbered)} ({type(layer).__name__})"
        broken = [name for name, parameter in layer.named_parameters() if not parameter.isfinite().all()]
        if broken:
            return f"{where} has parameters that are not finite: {', '.join(broken)}"
        if inverse and not layer.codomain.check(value).all():
            return f"a point lies outside the image of {where}"
        if inverse:
            value, log_det = prepared[number - 1].inverse_and_log_det(value, batch.context)
        else:
            value, log_det = layer.forward_and_log_det(value, batch.context)
        for what, tensor in (("value", value), ("log det", log_det)):
            if not tensor.isfinite().all():
                return f"{where} gave a {what} that is not finite"
    return "every layer is finite, but the density is not: a point lies outside the support or too far from the base"
