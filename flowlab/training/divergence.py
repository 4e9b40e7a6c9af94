"""A loss that has stopped being finite, and which layer did it."""

from __future__ import annotations

import torch
from torch import Tensor

from flowlab.bijectors import stages
from flowlab.bijectors.compose import prepare
from flowlab.flow import Flow


class DivergedError(RuntimeError):
    """Training stopped because the loss was no longer finite; the message names the step and the layer."""


@torch.no_grad()
def describe_divergence(flow: Flow, batch: Tensor, step: int, inverse: bool) -> str:
    """The step, and which layer first gives a value that is not finite, walking the layers in the order of the loss.

    Arguments:
        flow: with the parameters that gave the loss.
        batch: the minibatch: points of the target, or of the base.
        step: its number.
        inverse: the loss takes points of the target back to the base.
    """
    if inverse and flow.prepared().log_prob(batch).isfinite().all():
        return f"the gradient is not finite at step {step}, though the loss is"
    return f"the loss is not finite at step {step}: {_first_cause(flow, batch, inverse)}"


def _first_cause(flow: Flow, batch: Tensor, inverse: bool) -> str:
    numbered = list(enumerate(stages(flow.bijector), start=1))
    if not batch.isfinite().all():
        return "the minibatch itself holds values that are not finite"
    value, prepared = batch, prepare(stages(flow.bijector))  # as in the loss: what one way of inverting can, another may not
    for number, layer in reversed(numbered) if inverse else numbered:
        where = f"layer {number} of {len(numbered)} ({type(layer).__name__})"
        broken = [name for name, parameter in layer.named_parameters() if not parameter.isfinite().all()]
        if broken:
            return f"{where} has parameters that are not finite: {', '.join(broken)}"
        if inverse and not layer.codomain.check(value).all():
            return f"a point lies outside the image of {where}"
        value, log_det = prepared[number - 1].inverse_and_log_det(value) if inverse else layer.forward_and_log_det(value)
        for what, tensor in (("value", value), ("log det", log_det)):
            if not tensor.isfinite().all():
                return f"{where} gave a {what} that is not finite"
    return "every layer is finite, but the density is not: a point lies outside the support or too far from the base"
