"""Predicates on constraints, and replacement of values outside a constraint."""

import math

import pytest
import torch
from torch.distributions import Categorical, Gamma, MixtureSameFamily, constraints
from torch.fx.experimental.proxy_tensor import make_fx

from flowlab import Flow
from flowlab.bijectors import AffineScalar
from flowlab.torch_distributions import (
    can_branch_on_values,
    holds_for_all,
    is_lower_dimensional,
    open_interval,
    open_simplex,
    replace_outside,
)

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
def test_extremes_decide_for_an_interval(interval, odd):
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
def test_extremes_do_not_decide_for_other_constraints(constraint):
    assert not holds_for_all(constraint, torch.full((3, 4), 0.25))


def test_empty_tensor_is_not_decided():
    assert not holds_for_all(constraints.positive, torch.empty(0))


@pytest.mark.parametrize("constraint", [*INTERVALS[:-1], constraints.interval(torch.zeros(4), torch.ones(4))], ids=str)
def test_points_outside_are_replaced_by_points_inside(constraint):
    value = torch.tensor([[0.25, -7.0, 7.0, torch.nan]] * 2)
    inside = constraint.check(value)
    replaced = replace_outside(value, inside, constraint)
    assert constraint.check(replaced).all()
    assert torch.equal(replaced[inside], value[inside])


def test_open_simplex_excludes_its_faces():
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.5, 0.5, 0.5], [0.75, 0.5, -0.25]])
    assert open_simplex().check(probabilities).tolist() == [True, False, False, False]
    assert constraints.simplex.check(probabilities).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("constraint", "expected"),
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
def test_lower_dimensional_constraints_are_recognized(constraint, expected):
    assert is_lower_dimensional(constraint) == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_can_branch_on_values_is_false_under_tracing():
    seen = []

    def ask(points):
        seen.append(can_branch_on_values(points))
        return points + 1

    points = torch.zeros(3)
    ask(points)
    with torch.no_grad():
        torch.vmap(ask)(points)
        make_fx(ask)(points)
        make_fx(ask, tracing_mode="symbolic")(points)
        torch.jit.trace(ask, points, check_trace=False)  # the check would call the function untraced
        ask(points.to("meta"))
        torch.func.jvp(ask, (points,), (points,))
        assert not any(seen)
        ask(points)
    assert seen[-1]


def test_a_mixture_of_bounded_components_can_be_the_base():
    modes = Categorical(torch.ones(2))
    mixture = MixtureSameFamily(modes, Gamma(torch.tensor([1.0, 4.0]), torch.ones(2)))
    log_prob = Flow(mixture, AffineScalar(scale=2.0)).log_prob(torch.tensor([-1.0, 2.0]))
    torch.testing.assert_close(log_prob, torch.tensor([-torch.inf, mixture.log_prob(torch.tensor(1.0)) - math.log(2)]))
