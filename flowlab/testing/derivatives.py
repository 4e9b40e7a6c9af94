"""Gradients of a bijector: they exist, are finite, and agree with finite differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flowlab.testing.charts import doubled
from flowlab.testing.property import close
from flowlab.testing.subject import LARGEST, Sample, Subject, forward, inverse

FEW = 8  # points
STEP = 1e-6  # of differences in float64, whose error is then about 1e-8
LARGEST_ERROR = 1e-4  # a gradient that differs by more is wrong


def check_gradients(subject: Subject) -> None:
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
    few = doubled(
        Sample(subject.moved(1), subject.points(drawn), subject.context(FEW))
    )  # no round numbers, where a kink may be
    compare("f", few, forward)
    if few.bijector.has_inverse:
        images = forward(few)[0].detach()
        compare("f^-1", few._replace(x=images), lambda sample: inverse(sample, sample.x))


def compare(what: str, sample: Sample, call: Callable[[Sample], tuple[Tensor, Tensor]]) -> None:
    """Compare derivatives along random directions with finite differences, by the points and all parameters.

    Arguments:
        what: the direction of the map, for the message.
        sample: the points, which are images where the map is the inverse.
        call: returns values and log dets.
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
            close(f"the derivative of {name} by {culprit}", derivative, expected, LARGEST_ERROR * (1 + expected.abs()))
