"""A property of every bijector, and the tools that check it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from flowlab.testing.subject import Subject, all_of_rows, chart

T = TypeVar("T")
EXAMPLES = 20


class NotApplicable(Exception):
    """The property does not apply to this bijector; the message says why."""


@dataclass(frozen=True)
class Property:
    """A claim about every bijector; its check raises an AssertionError, or NotApplicable where it does not apply."""

    name: str
    claim: str
    check: Callable[[Subject], None]
    number: int = 0


def checks(name: str, claim: str) -> Callable[[Callable[[Subject], None]], Property]:
    """Make a property of the function that checks it."""
    return partial(Property, name, claim)


def for_all(draws: st.SearchStrategy[T], claim: Callable[[T], None]) -> None:
    """Check a claim on draws of Hypothesis, the same ones every time, and shrink a failing example."""
    quick = settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )

    def drawn(sample: T) -> None:
        claim(sample)

    quick(given(draws)(drawn))()


def need(condition: bool, why_not: str) -> None:
    """Raise NotApplicable unless a condition holds."""
    if not condition:
        raise NotApplicable(why_not)


def need_inverse(subject: Subject) -> None:
    need(subject.bijector.has_inverse, "it has no inverse")


def need_charts(subject: Subject) -> None:
    for side in (subject.bijector.domain, subject.bijector.codomain):
        need(chart(side) is not None, f"the free coordinates of {side} are unknown here")


def close(what: str, value: Tensor, expected: Tensor, allowed: Tensor | float) -> None:
    """Check every number against an allowed error; where it is infinite, anything passes, also NaN."""
    error = (value.detach().double() - expected.detach().double()).abs()
    allowed = torch.as_tensor(allowed, dtype=torch.float64).expand_as(error)
    near = ((error <= allowed) | (allowed == torch.inf)) & expected.isfinite()
    wrong = ~near & ~(value == expected)
    if wrong.any():
        first = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{what}: {value[first].item():.9g} where {expected[first].item():.9g} is expected, to within "
            f"{allowed[first].item():.2g}"
        )


def agree(what: str, values: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 0.0) -> None:
    """Check that tensors have the same shapes and numbers: to the last bit, or relative to 1 + |number|.

    NaN agrees with NaN: a point rounded out of the codomain has no pre-image, alone and in a batch.
    """
    for value, wanted in zip(values, expected, strict=True):
        assert value.shape == wanted.shape, f"{what}: has shape {tuple(value.shape)} instead of {tuple(wanted.shape)}"
        lost = value.isnan() & wanted.isnan()
        value, wanted = value.masked_fill(lost, 0.0), wanted.masked_fill(lost, 0.0)
        close(what, value, wanted, tolerance * (1 + wanted.detach().abs()) if tolerance else 0.0)


def finite(what: str, value: Tensor, at: Tensor) -> None:
    """Check that every number is finite, in as many rows as `at` has points."""
    bad = ~all_of_rows(value.isfinite())
    if bad.any():
        row = int(bad.nonzero()[0])
        raise AssertionError(f"{what} is {value[row].tolist()} at {at[row].tolist()}")
