"""Properties of a bijector as a module and in a flow: gradients, dtypes, files, seeds, compilation, contexts."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, TransformedDistribution, biject_to, constraints
from torch.distributions.constraints import Constraint
from torch.func import functional_call, stack_module_state, vmap

from flowlab.bijectors.base import Bijector
from flowlab.distributions.base import Base
from flowlab.flow import Flow
from flowlab.seeding import generator
from flowlab.testing.property import agree, checks, close, for_all, need, need_inverse
from flowlab.testing.subject import LARGEST, Sample, Subject, forward, inverse
from flowlab.torch_distributions import innermost

COPIES = 3
INITIAL_TOLERANCE = 1e-6  # initial parameters are float32, whatever the dtype is later
FEW = 8  # points
STEP = 1e-6  # of differences in float64, whose error is then about 1e-8
LARGEST_ERROR = 1e-4  # a gradient that differs by more is wrong


class BothWays(nn.Module):
    """Image, pre-image and both log dets in one call of a module."""

    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        self.bijector = bijector

    def forward(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        there = self.bijector.forward_and_log_det(x, context)
        return (*there, *self.bijector.inverse_and_log_det(y, context)) if self.bijector.has_inverse else there


@checks("gradients", "in both directions every parameter gets a finite nonzero gradient that equals finite differences")
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
    # No round numbers, where a kink may be.
    drawn = LARGEST * (2 * torch.rand(FEW, subject.dim, generator=torch.Generator().manual_seed(0)) - 1)
    few = Sample(subject.moved(1), subject.points(drawn), subject.context(FEW)).double()
    compare_with_differences("f", few, forward)
    if few.bijector.has_inverse:
        images = few._replace(x=forward(few)[0].detach())
        compare_with_differences("f^-1", images, lambda sample: inverse(sample, sample.x))


def compare_with_differences(what: str, sample: Sample, call: Callable[[Sample], tuple[Tensor, Tensor]]) -> None:
    """Compare derivatives along random directions with finite differences, by the points and all parameters.

    The points of the sample are images where `call`, which returns values and log dets, is the inverse.
    """
    numbers = torch.Generator().manual_seed(0)

    def random(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=numbers, dtype=torch.float64)

    context = None if sample.context is None else sample.context.clone().requires_grad_()
    sample = sample._replace(x=sample.x.clone().requires_grad_(), context=context)
    weights = [random(part) for part in call(sample)]
    learned = {name: each for name, each in sample.bijector.named_parameters() if each.requires_grad}
    varied = {"the points": sample.x, **({} if context is None else {"the context": context}), **learned}
    for place, name in enumerate((what, f"the log det of {what}")):

        def total(place: int = place) -> Tensor:
            return (call(sample)[place] * weights[place]).sum()

        for culprit, tensor in varied.items():
            value, direction = total(), random(tensor)
            found = torch.autograd.grad(value, tensor, allow_unused=True)[0] if value.requires_grad else None
            derivative = tensor.new_zeros(()) if found is None else (found * direction).sum()
            with torch.no_grad():
                tensor.add_(STEP * direction)
                above = total()
                tensor.sub_(2 * STEP * direction)
                below = total()
                tensor.add_(STEP * direction)
            expected = (above - below) / (2 * STEP)
            close(f"the derivative of {name} by {culprit}", derivative, expected, LARGEST_ERROR * (1 + expected.abs()))


@checks("batched", "a batch of parameter sets gives the results of each alone")
def check_batched_parameters(subject: Subject) -> None:
    copies = [BothWays(subject.moved(seed)) for seed in range(COPIES)]
    need(bool(copies[0].state_dict()), "it holds no tensors")
    sample = subject.many(5)
    points = (sample.x, copies[0].bijector.forward(sample.x, sample.context).detach(), sample.context)
    stacked = vmap(lambda *state: functional_call(copies[0], state, points))(*stack_module_state(copies))
    for number, each in enumerate(copies):
        alone, together = each(*points), [values[number] for values in stacked]
        agree("one of several parameter sets in a batch", together, alone, subject.tolerance)


@checks("shapes", "one point and batches of any shape give the same results, with log det and without")
def check_shapes(subject: Subject) -> None:
    sample = subject.many(6)
    bijector, both = sample.bijector, BothWays(sample.bijector)
    points = (sample.x, forward(sample)[0].detach(), sample.context)
    whole = both(*points)
    for batch in ((), (1,), (6,), (2, 3)):
        results, expected = both(*in_batch(points, batch)), in_batch(whole, batch)
        agree(f"in a batch of shape {batch}", results, expected, subject.tolerance)
    # With gaps between the numbers in memory.
    strided = [None if each is None else torch.stack([each, each], -1)[..., 0] for each in points]
    agree("of points with gaps between them in memory", both(*strided), whole, subject.tolerance)
    agree("forward, without the log det,", [bijector.forward(sample.x, sample.context)], whole[:1])
    if bijector.has_inverse:
        agree("inverse, without the log det,", [bijector.inverse(*points[1:])], whole[2:3])


def in_batch(tensors: Sequence[Any], batch: tuple[int, ...]) -> list[Any]:
    """The first rows of each tensor in a batch of a shape."""
    rows = math.prod(batch)
    return [None if each is None else each.detach()[:rows].reshape((*batch, *each.shape[1:])) for each in tensors]


@checks("initial", "before training it is the documented map")
def check_initialization(subject: Subject) -> None:
    bijector, initial = subject.fresh(), subject.initial
    need(initial is not None, "no initial map is given")

    def claim(sample: Sample) -> None:
        value = bijector.forward(sample.x, sample.context)
        agree("f at its initialization", [value], [initial(sample.x)], INITIAL_TOLERANCE)  # type: ignore[misc]

    for_all(subject.samples(), claim)


@checks("types", "results have the dtype and device of the points")
def check_types_and_devices(subject: Subject) -> None:
    other = torch.float32 if subject.dtype == torch.float64 else torch.float64
    sample = subject.many(4)
    both, points = BothWays(sample.bijector), (sample.x, forward(sample)[0].detach(), sample.context)
    expected = both(*points)
    assert {value.dtype for value in expected} == {subject.dtype}, (
        f"{subject.dtype} points give {[str(value.dtype) for value in expected]}"
    )
    default = torch.get_default_dtype()
    try:  # results do not depend on the defaults at the time of the call
        torch.set_default_dtype(other)
        with torch.device("meta"):
            again = both(*points)
    finally:
        torch.set_default_dtype(default)
    agree("the result under a different default dtype and device", again, expected)
    # On the device "meta" a tensor created on another device is an error.
    elsewhere = [None if each is None else each.to("meta") for each in points]
    for value in copy.deepcopy(both).to("meta")(*elsewhere):
        assert value.device.type == "meta", f"a result is on {value.device} for points on another device"


@checks("saved", "saved and loaded as plain tensors it is the same map")
def check_save_and_load(subject: Subject) -> None:
    sample, loaded = subject.many(), subject.moved(2)
    file = io.BytesIO()
    torch.save(sample.bijector.state_dict(), file)
    file.seek(0)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    agree("after loading", forward(sample._replace(bijector=loaded)), forward(sample))
    if loaded.has_inverse:
        own, shared = ({id(each) for each in module.parameters()} for module in (loaded, loaded.inv))
        assert own == shared, "the inverse does not share its parameters"


@checks("refused", "an invalid argument raises an error that names it")
def check_invalid_arguments(subject: Subject) -> None:
    need(bool(subject.invalid), "no invalid arguments are given")
    for culprit, construct in subject.invalid.items():
        try:
            construct()
            message = None
        except (ValueError, TypeError, NotImplementedError) as error:
            message = str(error)
        assert message is not None, f"{culprit} raises no error"
        assert culprit in message, f"the error does not name {culprit!r}: {message}"


@checks("support", "the density is finite at images, and 0 outside the support and at NaN")
def check_support(subject: Subject) -> None:
    need_inverse(subject)
    sample = subject.many(16)
    flow = Flow(base_of(subject), sample.bijector)
    y = sample.bijector.forward(sample.x, sample.context).detach()
    inside = subject.sum_event(flow.log_prob(y, sample.context))
    assert inside.isfinite().all(), f"the log density of an image is {inside[~inside.isfinite()][0].item()}"
    for where, outside in move_outside(sample.bijector.codomain, y).items():
        wrong = subject.sum_event(flow.log_prob(outside, sample.context))
        wrong = wrong[wrong != -torch.inf]
        assert not len(wrong), f"the log density {where} is {wrong[0].item()}"


def move_outside(codomain: Constraint, y: Tensor) -> dict[str, Tensor]:
    """Images moved out of the codomain, in every direction that it has."""
    codomain, moved = innermost(codomain), {}
    for number in (torch.nan, torch.inf, -torch.inf):
        moved[f"at {number}"] = y.clone()
        moved[f"at {number}"].view(len(y), -1)[:, 0] = number
    if hasattr(codomain, "lower_bound"):
        moved["below the support"] = 2 * codomain.lower_bound - y - 1
    if hasattr(codomain, "upper_bound"):
        moved["above the support"] = 2 * codomain.upper_bound - y + 1
    if isinstance(codomain, type(constraints.simplex)):
        moved |= {"where the sum is not 1": 1.5 * y, "of negative probabilities": -y}
    if isinstance(codomain, type(constraints.lower_triangular)):
        moved["above the diagonal"] = y + torch.ones_like(y).triu(1)
    return moved


def base_of(subject: Subject) -> Base:
    """Normal variables, mapped to the domain of the bijector."""
    onto = biject_to(subject.bijector.domain)
    event = subject.points(torch.zeros(1, subject.dim)).shape[1:]
    ones = torch.ones(event if subject.has_plain_domain else onto.inverse_shape(event), dtype=subject.dtype)
    normal: Distribution = Normal(0 * ones, ones, validate_args=False)
    if subject.bijector.event_dim or subject.context_dim is not None:  # one context for each vector
        normal = Independent(normal, 1)
    return Base(normal if subject.has_plain_domain else TransformedDistribution(normal, [onto], validate_args=False))


@checks("seeds", "one seed gives one initialization and one set of samples")
def check_seeds(subject: Subject) -> None:
    first, second = subject.moved(3), subject.moved(4)
    before = [(a.clone(), b.clone()) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    for bijector in (first, second):
        bijector.reset_parameters(generator(0, "start"))
    for (name, a), b, (old_a, old_b) in zip(first.named_parameters(), second.parameters(), before, strict=True):
        left = torch.equal(a, old_a) and torch.equal(b, old_b)
        assert left or torch.equal(a, b), f"one seed gives two initializations of {name}"
    state = torch.get_rng_state()
    flow = Flow(base_of(subject), subject.fresh())
    context = subject.context(1)
    draws = [flow.sample((4,), None if context is None else context[0], generator(1, "samples")) for _ in range(2)]
    agree("samples of one seed", draws[:1], draws[1:])
    agree("torch's global stream after draws from another", [torch.get_rng_state()], [state])


@checks("compiled", "as one compiled graph it is the same map")
def check_compiled(subject: Subject) -> None:
    sample = subject.many(4)
    both, points = BothWays(sample.bijector), (sample.x, forward(sample)[0].detach(), sample.context)
    torch._dynamo.reset()
    graph = torch.compile(both, fullgraph=True, backend="aot_eager")
    agree("compiled", graph(*points), both(*points), subject.tolerance)
    torch._dynamo.reset()


@checks("context", "a point is mapped by its own context; an unused context changes nothing")
def check_conditioning(subject: Subject) -> None:
    sample = subject.many(6)
    x, bijector, context = sample.x, sample.bijector, sample.context
    if context is None:
        try:
            with_context = bijector.forward_and_log_det(x, torch.ones(6, 2, dtype=subject.dtype))
        except TypeError:
            need(False, "it needs a context; give context_dim")
        agree("with a context that it does not use", with_context, forward(sample))
        return
    both, y = BothWays(bijector), forward(sample)[0].detach()
    together = both(x, y, context)
    alone = [torch.stack(rows) for rows in zip(*map(both, x, y, context), strict=True)]
    agree("a point with its own context", together, alone, subject.tolerance)
    assert not torch.equal(both(x, y, context.roll(1, 0))[0], together[0]), "the image does not depend on the context"
