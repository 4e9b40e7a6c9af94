"""The support of a vector: from words and constraints, to a constraint and a bijector."""

import math

import pytest
import torch
from torch.distributions import Dirichlet, biject_to, constraints

from flowlab import ConfigError
from flowlab.targets.densities.support import Support

CASES = {
    "positive": ("positive", 2, ("positive", "positive")),
    "a word for each": (["real", "bounded:-1:inf"], 2, ("real", "bounded:-1:inf")),
    "nothing": (None, 2, ("real", "real")),
    "real vector": (constraints.real_vector, 3, ("real",) * 3),
    "positive constraint": (constraints.positive, 1, ("positive",)),
    "nonnegative": (constraints.nonnegative, 1, ("positive",)),
    "interval": (constraints.interval(-2.0, 3.0), 2, ("bounded:-2.0:3.0",) * 2),
    "less than": (constraints.less_than(3.0), 1, ("bounded:-inf:3.0",)),
    "tensor bounds": (
        constraints.independent(constraints.interval(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 5.0])), 1),
        2,
        ("bounded:0.0:1.0", "bounded:1.0:5.0"),
    ),
    "simplex": (constraints.simplex, 3, ("simplex:3",)),
    "list": ([constraints.real, constraints.positive, "simplex:2"], 4, ("real", "positive", "simplex:2")),
    "cat": (
        constraints.cat([constraints.positive, constraints.simplex], dim=-1, lengths=[2, 3]),
        5,
        ("positive", "positive", "simplex:3"),
    ),
    "stack": (constraints.stack([constraints.real, constraints.unit_interval], dim=-1), 2, ("real", "bounded:0.0:1.0")),
}


@pytest.mark.parametrize(("given", "dim", "words"), CASES.values(), ids=CASES)
def test_words_of_a_support(given, dim, words):
    assert Support.of(given, dim).words == words


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("given", "dim", "words"), CASES.values(), ids=CASES)
def test_bijector_maps_onto_the_support_and_back(given, dim, words, dtype):
    support = Support.of(given, dim)
    bijector = support.bijector()
    if bijector is None:
        assert support.is_unbounded
        return
    bijector = bijector.to(dtype)
    x = torch.randn(50, support.free, generator=torch.Generator().manual_seed(0), dtype=dtype)
    y, log_det = bijector.forward_and_log_det(x)
    assert y.shape == (50, dim)
    assert support.constraint.check(y).all()
    back, inverse = bijector.inverse_and_log_det(y)
    torch.testing.assert_close(back, x, rtol=1e-3, atol=1e-4 if dtype is torch.float32 else 1e-8)
    summed = [each.sum(-1) if each.ndim > 1 else each for each in (log_det, inverse)]
    torch.testing.assert_close(summed[0], -summed[1], rtol=1e-4, atol=1e-3 if dtype is torch.float32 else 1e-8)


def test_log_dets_of_intervals_are_those_of_torch():
    constraint = constraints.cat([constraints.positive, constraints.interval(-1.0, 4.0), constraints.real], dim=-1)
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bijector = Support.of(constraint, 3).bijector().double()
    known = biject_to(constraint)
    y, log_det = bijector.forward_and_log_det(x)
    torch.testing.assert_close(y, known(x))
    torch.testing.assert_close(log_det, known.log_abs_det_jacobian(x, y))


def test_log_det_of_a_mixed_support_is_that_of_its_jacobian():
    """A Dirichlet beside an Exponential: their density, moved to the real line, integrates to one."""
    support = Support(("simplex:2", "positive"))
    axis = torch.linspace(-16, 12, 400, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    y, log_det = support.bijector().double().forward_and_log_det(x)
    log_prob = (
        Dirichlet(torch.tensor([2.0, 3.0], dtype=torch.float64), validate_args=False).log_prob(y[:, :2]) - y[:, 2]
    )
    integral = float((log_prob + log_det).exp().sum() * (axis[1] - axis[0]) ** 2)
    assert integral == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("given", "dim", "message"),
    [
        ("negative", 2, "support=negative: no such support; allowed: real, positive"),
        ("bounded:1", 1, "support=bounded:1: no such support"),
        ("bounded:2:1", 1, "support=bounded:2:1: LOW must be below HIGH"),
        ("bounded:a:1", 1, "support=bounded:a:1: no such support"),
        ("simplex:1", 1, "support=simplex:1: must be simplex:K"),
        (["real", "real"], 3, "is for 2 coordinates, but a point has 3; give one word for each, or one for all"),
        ("simplex:3", 4, "is for 3 coordinates, but a point has 4"),
        (constraints.lower_cholesky, 4, "is no support that a flow can be mapped onto; allowed: real"),
        (constraints.boolean, 1, "is no support that a flow can be mapped onto"),
        (7, 1, "support=7: is no support"),
    ],
)
def test_a_support_that_no_flow_can_have_is_refused(given, dim, message):
    with pytest.raises(ConfigError) as caught:
        Support.of(given, dim)
    assert message in str(caught.value)


def test_numbers_outside_are_outside():
    constraint = Support(("positive", "bounded:0:1", "simplex:2")).constraint
    inside = torch.tensor([1.0, 0.5, 0.25, 0.75])
    assert constraint.check(inside)
    for place, value in ((0, -1.0), (1, 1.5), (2, 0.5), (0, math.nan)):
        outside = inside.clone()
        outside[place] = value
        assert not constraint.check(outside)
