"""Properties of a bijector as a module and in a flow: parameters, dtypes, files, seeds, compilation, contexts."""

from __future__ import annotations

import copy
import io
import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, TransformedDistribution, biject_to, constraints
from torch.distributions.constraints import Constraint
from torch.func import functional_call, stack_module_state, vmap

from flowlab.bijectors.base import Bijector
from flowlab.constraints import is_lower_dimensional, is_unbounded
from flowlab.distributions.base import Base
from flowlab.flow import Flow
from flowlab.seeding import generator
from flowlab.testing.property import TOLERANCE, close, for_all, need, need_inverse, same
from flowlab.testing.subject import Sample, Subject, forward

COPIES = 3
INITIAL_TOLERANCE = 1e-6  # initial parameters are float32, whatever the dtype is later


class BothWays(nn.Module):
    """Image, pre-image and both log dets in one call of a module."""

    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        self.bijector = bijector

    def forward(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        there = self.bijector.forward_and_log_det(x, context)
        return (*there, *self.bijector.inverse_and_log_det(y, context)) if self.bijector.has_inverse else there


def allowed(subject: Subject, expected: Tensor) -> Tensor:
    """The allowed difference from a value that is computed in a different way."""
    return TOLERANCE[subject.dtype] * (1 + expected.abs())


def check_batched_parameters(subject: Subject) -> None:
    copies = [subject.moved(seed) for seed in range(COPIES)]
    need(bool(copies[0].state_dict()), "it holds no tensors")
    sample = subject.many(5)
    y = copies[0].forward(sample.x, sample.context).detach()
    parameters, buffers = stack_module_state(copies)
    one = BothWays(copies[0])

    def call(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, ...]:
        state = {f"bijector.{name}": value for name, value in {**parameters, **buffers}.items()}
        return functional_call(one, state, (sample.x, y, sample.context))

    stacked = vmap(call)(parameters, buffers)
    for number, bijector in enumerate(copies):
        for together, alone in zip(stacked, BothWays(bijector)(sample.x, y, sample.context), strict=True):
            expected = alone.detach()
            close(
                "one of several parameter sets in a batch",
                together[number].detach(),
                expected,
                allowed(subject, expected),
            )


def check_initialization(subject: Subject) -> None:
    need(subject.initial is not None, "no initial map is given")
    assert subject.initial is not None
    bijector = subject.fresh()

    def claim(sample: Sample) -> None:
        expected = subject.initial(sample.x)  # type: ignore[misc]
        value = bijector.forward(sample.x, sample.context).detach()
        close("f at its initialization", value, expected, INITIAL_TOLERANCE * (1 + expected.abs()))

    for_all(subject.samples(), claim)


def check_types_and_devices(subject: Subject) -> None:
    other = torch.float32 if subject.dtype == torch.float64 else torch.float64
    sample = subject.many(4)
    y = sample.bijector.forward(sample.x, sample.context).detach()
    expected = BothWays(sample.bijector)(sample.x, y, sample.context)
    assert {value.dtype for value in expected} == {subject.dtype}, (
        f"{subject.dtype} points give {[str(value.dtype) for value in expected]}"
    )
    default = torch.get_default_dtype()
    try:  # results do not depend on the defaults at the time of the call
        torch.set_default_dtype(other)
        with torch.device("meta"):
            again = BothWays(sample.bijector)(sample.x, y, sample.context)
    finally:
        torch.set_default_dtype(default)
    for value, before in zip(again, expected, strict=True):
        same("the result under a different default dtype and device", value.detach(), before.detach())
    # On the device "meta" a tensor created on another device is an error.
    context = None if sample.context is None else sample.context.to("meta")
    for value in BothWays(copy.deepcopy(sample.bijector).to("meta"))(sample.x.to("meta"), y.to("meta"), context):
        assert value.device.type == "meta", f"a result is on {value.device} for points on another device"


def check_shapes(subject: Subject) -> None:
    sample = subject.many(6)
    bijector = sample.bijector
    y = forward(sample)[0].detach()
    whole = BothWays(bijector)(sample.x, y, sample.context)
    for batch in ((), (1,), (6,), (2, 3)):
        rows = math.prod(batch)

        def batched(values: Tensor | None, rows: int = rows, batch: tuple[int, ...] = batch) -> Tensor | None:
            return None if values is None else values.detach()[:rows].reshape((*batch, *values.shape[1:]))

        results = BothWays(bijector)(batched(sample.x), batched(y), batched(sample.context))
        for value, expected in zip(results, map(batched, whole), strict=True):
            assert expected is not None
            assert value.shape == expected.shape, (
                f"a result has shape {tuple(value.shape)} instead of {tuple(expected.shape)}"
            )
            close(f"in a batch of shape {batch}", value.detach(), expected, allowed(subject, expected))
    strided = BothWays(bijector)(*map(with_gaps, (sample.x, y, sample.context)))
    for value, expected in zip(strided, whole, strict=True):
        close(
            "of points with gaps between them in memory",
            value.detach(),
            expected.detach(),
            allowed(subject, expected.detach()),
        )
    same("forward, without the log det,", bijector.forward(sample.x, sample.context).detach(), whole[0].detach())
    if bijector.has_inverse:
        same("inverse, without the log det,", bijector.inverse(y, sample.context).detach(), whole[2].detach())


def with_gaps(values: Tensor | None) -> Tensor | None:
    """The same numbers with gaps between them in memory."""
    return None if values is None else torch.stack([values, values], -1)[..., 0]


def check_save_and_load(subject: Subject) -> None:
    sample = subject.many()
    file = io.BytesIO()
    torch.save(sample.bijector.state_dict(), file)
    file.seek(0)
    loaded = subject.moved(2)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for value, saved in zip(forward(sample._replace(bijector=loaded)), forward(sample), strict=True):
        same("after loading", value.detach(), saved.detach())
    if loaded.has_inverse:
        shared = {id(parameter) for parameter in loaded.inv.parameters()}
        assert shared == {id(parameter) for parameter in loaded.parameters()}, (
            "the inverse does not share its parameters"
        )


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


def check_support(subject: Subject) -> None:
    need_inverse(subject)
    sample = subject.many(16)
    flow = Flow(base_of(subject), sample.bijector)
    y = sample.bijector.forward(sample.x, sample.context).detach()
    inside = subject.sum_event(flow.log_prob(y, sample.context))
    assert inside.isfinite().all(), f"the log density of an image is {inside[~inside.isfinite()][0].item()}"
    for where, outside in move_outside(sample.bijector.codomain, y).items():
        log_prob = subject.sum_event(flow.log_prob(outside, sample.context))
        assert (log_prob == -torch.inf).all(), (
            f"the log density {where} is {log_prob[log_prob != -torch.inf][0].item()}"
        )


def move_outside(codomain: Constraint, y: Tensor) -> dict[str, Tensor]:
    """Images moved out of the codomain, in every direction that it has."""
    while hasattr(codomain, "base_constraint"):
        codomain = codomain.base_constraint
    moved = {}
    for number in (torch.nan, torch.inf, -torch.inf):
        bad = y.clone()
        bad.view(len(y), -1)[:, 0] = number
        moved[f"at {number}"] = bad
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
    domain = subject.bijector.domain
    plain = is_unbounded(domain) and not is_lower_dimensional(domain)
    onto = biject_to(domain)
    event = subject.points(torch.zeros(1, subject.dim)).shape[1:]
    ones = torch.ones(event if plain else onto.inverse_shape(event), dtype=subject.dtype)
    normal: Distribution = Normal(0 * ones, ones, validate_args=False)
    if subject.bijector.event_dim or subject.context_dim is not None:  # one context for each vector
        normal = Independent(normal, 1)
    return Base(normal if plain else TransformedDistribution(normal, [onto], validate_args=False))


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
    same("samples of one seed", *draws)
    same("torch's global stream after draws from another", torch.get_rng_state(), state)


def check_compiled(subject: Subject) -> None:
    sample = subject.many(4)
    y = forward(sample)[0].detach()
    both = BothWays(sample.bijector)
    torch._dynamo.reset()
    graph = torch.compile(both, fullgraph=True, backend="aot_eager")
    for value, eager in zip(graph(sample.x, y, sample.context), both(sample.x, y, sample.context), strict=True):
        expected = eager.detach()
        close("compiled", value.detach(), expected, allowed(subject, expected))
    torch._dynamo.reset()


def check_conditioning(subject: Subject) -> None:
    sample = subject.many(6)
    context = sample.context
    if context is None:
        ignored = torch.ones(6, 2, dtype=subject.dtype)
        try:
            with_context = sample.bijector.forward_and_log_det(sample.x, ignored)
        except TypeError:
            need(False, "it needs a context; give context_dim")
        for value, without in zip(with_context, forward(sample), strict=True):
            same("with a context that it does not use", value.detach(), without.detach())
        return
    y = forward(sample)[0].detach()
    together = BothWays(sample.bijector)(sample.x, y, context)
    rows = [BothWays(sample.bijector)(x, image, row) for x, image, row in zip(sample.x, y, context, strict=True)]
    for place, whole in enumerate(together):
        alone = torch.stack([row[place] for row in rows]).detach()
        close("a point with its own context", whole.detach(), alone, allowed(subject, alone))
    other = BothWays(sample.bijector)(sample.x, y, context.roll(1, 0))
    assert not torch.equal(other[0], together[0]), "the image does not depend on the context"
