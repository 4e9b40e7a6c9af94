"""A property of every bijector, and the tools that check it."""

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

# The allowed difference of two computations of one value, relative to 1 + |value|.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


class NotApplicable(Exception):
    """The property does not apply to this bijector; the message says why."""


@dataclass(frozen=True)
class Property:
    """A claim about every bijector.

    Attributes:
        number: its place in the list.
        name: one or two words.
        claim: one sentence.
        check: raises an AssertionError where it fails, and NotApplicable where it does not apply.
    """

    number: int
    name: str
    claim: str
    check: Callable[[Subject], None]


def for_all(draws: st.SearchStrategy[T], claim: Callable[[T], None], examples: int = EXAMPLES) -> None:
    """Check a claim on draws of Hypothesis, the same ones every time, and shrink a failing example."""
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
    """Raise NotApplicable unless a condition holds."""
    if not condition:
        raise NotApplicable(why_not)


def need_inverse(subject: Subject) -> None:
    need(subject.bijector.has_inverse, "it has no inverse")


def close(what: str, value: Tensor, expected: Tensor, allowed: Tensor | float) -> None:
    """Check every number against an allowed error; where it is infinite, anything passes, also NaN."""
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
    """Check that every number is the same, to the last bit."""
    assert value.shape == expected.shape, f"{what}: has shape {tuple(value.shape)} instead of {tuple(expected.shape)}"
    close(what, value, expected, 0.0)


def all_of_rows(mask: Tensor) -> Tensor:
    """Which rows of a mask of shape (n, ...) are all true, of shape (n,)."""
    return mask.flatten(1).all(-1) if mask.ndim > 1 else mask


def finite(what: str, value: Tensor, at: Tensor) -> None:
    """Check that every number is finite, in as many rows as `at` has points."""
    bad = ~all_of_rows(value.isfinite())
    if bad.any():
        row = int(bad.nonzero()[0])
        raise AssertionError(f"{what} is {value[row].tolist()} at {at[row].tolist()}")
