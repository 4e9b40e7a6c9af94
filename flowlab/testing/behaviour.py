"""Properties of a bijector as a module and as a part of flows: parameters, dtypes, files, seeds, compilation."""

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
STARTED = 1e-6  # a start is held in float32, whatever the dtype is later


class BothWays(nn.Module):
    """Image, pre-image and both log dets in one call, for what calls modules."""

    def __init__(self, bijector: Bijector) -> None:
        super().__init__()
        self.bijector = bijector

    def forward(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        there = self.bijector.forward_and_log_det(x, context)
        return (*there, *self.bijector.inverse_and_log_det(y, context)) if self.bijector.has_inverse else there


def allowed(subject: Subject, expected: Tensor) -> Tensor:
    """How far what is computed in another way may be off."""
    return TOLERANCE[subject.dtype] * (1 + expected.abs())


def batched_parameters(subject: Subject) -> None:
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
            close("one of several sets at once", together[number].detach(), expected, allowed(subject, expected))


def start(subject: Subject) -> None:
    need(subject.start is not None, "its start is not said")
    assert subject.start is not None
    bijector = subject.fresh()

    def claim(sample: Sample) -> None:
        expected = subject.start(sample.x)  # type: ignore[misc]
        value = bijector.forward(sample.x, sample.context).detach()
        close("f at its start", value, expected, STARTED * (1 + expected.abs()))

    for_all(subject.samples(), claim)


def types_and_devices(subject: Subject) -> None:
    other = torch.float32 if subject.dtype == torch.float64 else torch.float64
    sample = subject.many(4)
    y = sample.bijector.forward(sample.x, sample.context).detach()
    expected = BothWays(sample.bijector)(sample.x, y, sample.context)
    assert {value.dtype for value in expected} == {subject.dtype}, (
        f"{subject.dtype} comes out as {[str(value.dtype) for value in expected]}"
    )
    default = torch.get_default_dtype()
    try:  # whatever the defaults are where it is called
        torch.set_default_dtype(other)
        with torch.device("meta"):
            again = BothWays(sample.bijector)(sample.x, y, sample.context)
    finally:
        torch.set_default_dtype(default)
    for value, as_before in zip(again, expected, strict=True):
        same("what another default dtype and device give", value.detach(), as_before.detach())
    # On the device "meta" a tensor made elsewhere shows at once: mixing the two is an error.
    context = None if sample.context is None else sample.context.to("meta")
    for value in BothWays(copy.deepcopy(sample.bijector).to("meta"))(sample.x.to("meta"), y.to("meta"), context):
        assert value.device.type == "meta", f"on another device it comes out on {value.device}"


def shapes(subject: Subject) -> None:
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
            assert value.shape == expected.shape, f"of shape {tuple(value.shape)}, not {tuple(expected.shape)}"
            close(f"in a batch of shape {batch}", value.detach(), expected, allowed(subject, expected))
    apart = BothWays(bijector)(*map(in_pieces, (sample.x, y, sample.context)))
    for value, expected in zip(apart, whole, strict=True):
        close(
            "of points that lie apart in memory", value.detach(), expected.detach(), allowed(subject, expected.detach())
        )
    same("forward, without the log det,", bijector.forward(sample.x, sample.context).detach(), whole[0].detach())
    if bijector.has_inverse:
        same("inverse, without the log det,", bijector.inverse(y, sample.context).detach(), whole[2].detach())


def in_pieces(values: Tensor | None) -> Tensor | None:
    """The same numbers with gaps between them in memory."""
    return None if values is None else torch.stack([values, values], -1)[..., 0]


def save_and_load(subject: Subject) -> None:
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
        assert shared == {id(parameter) for parameter in loaded.parameters()}, "the inverse has parameters of its own"


def invalid_arguments(subject: Subject) -> None:
    need(bool(subject.invalid), "no invalid arguments are given")
    for culprit, construct in subject.invalid.items():
        try:
            construct()
            refusal = None
        except (ValueError, TypeError, NotImplementedError) as error:
            refusal = str(error)
        assert refusal is not None, f"{culprit} is not refused"
        assert culprit in refusal, f"the refusal does not say {culprit!r}: {refusal}"


def outside_the_support(subject: Subject) -> None:
    need_inverse(subject)
    sample = subject.many(16)
    flow = Flow(base_of(subject), sample.bijector)
    y = sample.bijector.forward(sample.x, sample.context).detach()
    inside = subject.of_event(flow.log_prob(y, sample.context))
    assert inside.isfinite().all(), f"the log density of an image is {inside[~inside.isfinite()][0].item()}"
    for what, spoiled in spoil(sample.bijector.codomain, y).items():
        log_prob = subject.of_event(flow.log_prob(spoiled, sample.context))
        assert (log_prob == -torch.inf).all(), f"the log density {what} is {log_prob[log_prob != -torch.inf][0].item()}"


def spoil(codomain: Constraint, y: Tensor) -> dict[str, Tensor]:
    """Images moved out of the codomain, in every way that it has."""
    while hasattr(codomain, "base_constraint"):
        codomain = codomain.base_constraint
    spoiled = {}
    for number in (torch.nan, torch.inf, -torch.inf):
        bad = y.clone()
        bad.view(len(y), -1)[:, 0] = number
        spoiled[f"at {number}"] = bad
    if hasattr(codomain, "lower_bound"):
        spoiled["below the support"] = 2 * codomain.lower_bound - y - 1
    if hasattr(codomain, "upper_bound"):
        spoiled["above the support"] = 2 * codomain.upper_bound - y + 1
    if isinstance(codomain, type(constraints.simplex)):
        spoiled |= {"of what does not sum to 1": 1.5 * y, "of negative probabilities": -y}
    if isinstance(codomain, type(constraints.lower_triangular)):
        spoiled["above the diagonal"] = y + torch.ones_like(y).triu(1)
    return spoiled


def base_of(subject: Subject) -> Base:
    """Normal numbers, brought to the domain of the bijector."""
    domain = subject.bijector.domain
    plain = is_unbounded(domain) and not is_lower_dimensional(domain)
    onto = biject_to(domain)
    event = subject.points(torch.zeros(1, subject.dim)).shape[1:]
    ones = torch.ones(event if plain else onto.inverse_shape(event), dtype=subject.dtype)
    normal: Distribution = Normal(0 * ones, ones, validate_args=False)
    if subject.bijector.event_dim:
        normal = Independent(normal, 1)
    return Base(normal if plain else TransformedDistribution(normal, [onto], validate_args=False))


def seeds(subject: Subject) -> None:
    first, second = subject.moved(3), subject.moved(4)
    before = [(a.clone(), b.clone()) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    for bijector in (first, second):
        bijector.reset_parameters(generator(0, "start"))
    for (name, a), b, (old_a, old_b) in zip(first.named_parameters(), second.parameters(), before, strict=True):
        left = torch.equal(a, old_a) and torch.equal(b, old_b)
        assert left or torch.equal(a, b), f"of one seed two starts of {name} are drawn"
    state = torch.get_rng_state()
    flow = Flow(base_of(subject), subject.fresh())
    context = subject.context(1)
    draws = [flow.sample((4,), None if context is None else context[0], generator(1, "samples")) for _ in range(2)]
    same("samples of one seed", *draws)
    same("torch's own stream, after draws of another,", torch.get_rng_state(), state)


def compiled(subject: Subject) -> None:
    sample = subject.many(4)
    y = forward(sample)[0].detach()
    both = BothWays(sample.bijector)
    torch._dynamo.reset()
    graph = torch.compile(both, fullgraph=True, backend="aot_eager")
    for value, eager in zip(graph(sample.x, y, sample.context), both(sample.x, y, sample.context), strict=True):
        expected = eager.detach()
        close("compiled", value.detach(), expected, allowed(subject, expected))
    torch._dynamo.reset()


def conditioning(subject: Subject) -> None:
    sample = subject.many(6)
    context = sample.context
    if context is None:
        ignored = torch.ones(6, 2, dtype=subject.dtype)
        try:
            with_context = sample.bijector.forward_and_log_det(sample.x, ignored)
        except TypeError:
            need(False, "it takes a context of its own; give context_dim")
        for value, without in zip(with_context, forward(sample), strict=True):
            same("with a context that it has no use for", value.detach(), without.detach())
        return
    y = forward(sample)[0].detach()
    together = BothWays(sample.bijector)(sample.x, y, context)
    rows = [BothWays(sample.bijector)(x, image, row) for x, image, row in zip(sample.x, y, context, strict=True)]
    for place, whole in enumerate(together):
        alone = torch.stack([row[place] for row in rows]).detach()
        close("a point with its own context", whole.detach(), alone, allowed(subject, alone))
    other = BothWays(sample.bijector)(sample.x, y, context.roll(1, 0))
    assert not torch.equal(other[0], together[0]), "the image does not depend on the context"
