"""Gradients of a bijector: there, finite, and what differences of its values say."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flowlab.testing.charts import doubled
from flowlab.testing.property import close
from flowlab.testing.subject import LARGEST, Sample, Subject, forward, inverse

FEW = 8  # points
STEP = 1e-6  # the differences are taken in float64, and are then right to about 1e-8
RIGHT = 1e-4  # what differs by more is another gradient


def gradients(subject: Subject) -> None:
    sample = subject.many()
    y = forward(sample)[0].detach()
    trained = {name: each for name, each in sample.bijector.named_parameters() if each.requires_grad}
    for what in ("f", "f^-1") if sample.bijector.has_inverse else ("f",):
        sample.bijector.zero_grad()
        value, log_dets = forward(sample) if what == "f" else inverse(sample, y)
        if trained:
            (value.square().sum() + log_dets.sum()).backward()
        for name, parameter in trained.items():
            assert parameter.grad is not None, f"{what}: {name} gets no gradient"
            assert parameter.grad.isfinite().all(), f"{what}: the gradient of {name} is not finite: {parameter.grad}"
            assert parameter.grad.any(), f"{what}: the gradient of {name} is 0"
    drawn = LARGEST * (2 * torch.rand(FEW, subject.dim, generator=torch.Generator().manual_seed(0)) - 1)
    few = doubled(Sample(subject.moved(1), subject.points(drawn), subject.context(FEW)))  # on no kink at a round number
    compare("f", few, forward)
    if few.bijector.has_inverse:
        images = forward(few)[0].detach()
        compare("f^-1", few._replace(x=images), lambda sample: inverse(sample, sample.x))


def compare(what: str, sample: Sample, call: Callable[[Sample], tuple[Tensor, Tensor]]) -> None:
    """Hold derivatives along random directions against differences, for the points and for all that is learned.

    Arguments:
        what: the direction of the map, for the message.
        sample: its points, which are images where the map is the inverse.
        call: gives values and log dets.
    """
    numbers = torch.Generator().manual_seed(0)

    def random(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=numbers, dtype=torch.float64)

    sample = sample._replace(x=sample.x.clone().requires_grad_())
    if sample.context is not None:
        sample = sample._replace(context=sample.context.clone().requires_grad_())
    weights = [random(part) for part in call(sample)]

    def total(place: int) -> Tensor:
        return (call(sample)[place] * weights[place]).sum()

    learned = {name: each for name, each in sample.bijector.named_parameters() if each.requires_grad}
    varied = {"the points": sample.x, "the context": sample.context, **learned}
    for place, name in ((0, what), (1, f"the log det of {what}")):
        for culprit, tensor in varied.items():
            if tensor is None:
                continue
            value, direction = total(place), random(tensor)
            found = torch.autograd.grad(value, tensor, allow_unused=True)[0] if value.requires_grad else None
            derivative = tensor.new_zeros(()) if found is None else (found * direction).sum()
            with torch.no_grad():
                tensor.add_(STEP * direction)
                above = total(place)
                tensor.sub_(2 * STEP * direction)
                below = total(place)
                tensor.add_(STEP * direction)
            expected = (above - below) / (2 * STEP)
            close(f"the derivative of {name} by {culprit}", derivative, expected, RIGHT * (1 + expected.abs()))
