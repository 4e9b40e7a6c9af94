"""Questions about constraints."""

import pytest
import torch
from torch.distributions import constraints

from flowlab.constraints import holds_for_all, is_lower_dimensional, open_interval, open_simplex, replace_outside

INTERVALS = (
    constraints.positive,
    constraints.nonnegative,
    constraints.unit_interval,
    constraints.less_than(0.5),
    constraints.half_open_interval(0.0, 1.0),
    open_interval(-1.0, 1.0),
    constraints.independent(open_interval(-torch.inf, torch.inf), 1),
)


@pytest.mark.parametrize("interval", INTERVALS, ids=str)
@pytest.mark.parametrize("odd", [0.25, 0.0, 1.0, 7.0, -7.0, torch.inf, -torch.inf, torch.nan])
def test_the_extremes_speak_for_all(interval, odd):
    value = torch.full((3, 4), 0.25)
    value[1, 2] = odd
    assert holds_for_all(interval, value) == bool(interval.check(value).all())


@pytest.mark.parametrize(
    "constraint",
    [
        constraints.simplex,
        constraints.integer_interval(0, 3),
        constraints.interval(torch.zeros(4), torch.ones(4)),
        constraints.real,
    ],
    ids=str,
)
def test_what_the_extremes_cannot_tell(constraint):
    assert not holds_for_all(constraint, torch.full((3, 4), 0.25))


def test_no_numbers_at_all():
    assert not holds_for_all(constraints.positive, torch.empty(0))


@pytest.mark.parametrize("constraint", [*INTERVALS[:-1], constraints.interval(torch.zeros(4), torch.ones(4))], ids=str)
def test_what_is_outside_is_replaced_by_what_is_inside(constraint):
    value = torch.tensor([[0.25, -7.0, 7.0, torch.nan]] * 2)
    inside = constraint.check(value)
    replaced = replace_outside(value, inside, constraint)
    assert constraint.check(replaced).all()
    assert torch.equal(replaced[inside], value[inside])


def test_an_open_simplex_has_no_faces():
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.5, 0.5, 0.5], [0.75, 0.5, -0.25]])
    assert open_simplex().check(probabilities).tolist() == [True, False, False, False]
    assert constraints.simplex.check(probabilities).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("constraint", "thin"),
    [
        (constraints.simplex, True),
        (open_simplex(), True),
        (constraints.independent(constraints.simplex, 1), True),
        (constraints.lower_triangular, True),
        (constraints.lower_cholesky, True),
        (constraints.corr_cholesky, True),
        (constraints.symmetric, True),
        (constraints.positive_definite, True),
        (constraints.real_vector, False),
        (constraints.positive, False),
        (open_interval(0.0, 1.0), False),
    ],
    ids=str,
)
def test_what_has_fewer_free_coordinates_than_numbers(constraint, thin):
    assert is_lower_dimensional(constraint) == thin
