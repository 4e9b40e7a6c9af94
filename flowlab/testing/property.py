"""A property: what is claimed of every bijector, and how it is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from flowlab.testing.subject import Subject

T = TypeVar("T")
EXAMPLES = 20

# What is computed in two ways agrees to this, relative to 1 and the size of what is computed.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


class NotApplicable(Exception):
    """The property says nothing of this bijector; the message says why."""


@dataclass(frozen=True)
class Property:
    """What is claimed of every bijector.

    Attributes:
        number: in the list that a report ends with.
        name: one or two words.
        claim: the whole of it, in one sentence.
        check: raises an AssertionError where it does not hold, and NotApplicable where it says nothing.
    """

    number: int
    name: str
    claim: str
    check: Callable[[Subject], None]


def for_all(draws: st.SearchStrategy[T], claim: Callable[[T], None], examples: int = EXAMPLES) -> None:
    """Try a claim on draws of Hypothesis, the same ones every time; what fails is made as small as it can be."""
    quick = settings(
        max_examples=examples,
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
    """Leave a property that does not apply."""
    if not condition:
        raise NotApplicable(why_not)


def need_inverse(subject: Subject) -> None:
    need(subject.bijector.has_inverse, "it has no inverse")


def close(what: str, value: Tensor, expected: Tensor, allowed: Tensor | float) -> None:
    """See that every number is as near as allowed; where that is infinite, any is near to a finite one, also none."""
    error = (value.double() - expected.double()).abs()
    allowed = torch.as_tensor(allowed, dtype=torch.float64).expand_as(error)
    near = ((error <= allowed) | (allowed == torch.inf)) & expected.isfinite()
    wrong = ~near & ~(value == expected)
    if wrong.any():
        first = tuple(wrong.nonzero()[0].tolist())
        raise AssertionError(
            f"{what}: {value[first].item():.9g} where {expected[first].item():.9g} is expected, to within "
            f"{allowed[first].item():.2g}"
        )


def same(what: str, value: Tensor, expected: Tensor) -> None:
    """See that every number is the same, to the last bit."""
    assert value.shape == expected.shape, f"{what}: of shape {tuple(value.shape)}, not {tuple(expected.shape)}"
    close(what, value, expected, 0.0)


def of_rows(verdict: Tensor) -> Tensor:
    """A verdict on numbers, of shape (n, ...), as one on the rows, of shape (n,)."""
    return verdict.flatten(1).all(-1) if verdict.ndim > 1 else verdict


def finite(what: str, value: Tensor, at: Tensor) -> None:
    """See that every number is finite, of as many rows as `at` has points."""
    bad = ~of_rows(value.isfinite())
    if bad.any():
        row = int(bad.nonzero()[0])
        raise AssertionError(f"{what} is {value[row].tolist()} at {at[row].tolist()}")
