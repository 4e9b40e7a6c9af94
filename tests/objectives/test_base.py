"""What objectives need of a target and a flow."""

import pytest
from torch.distributions import constraints

from flowlab import ConfigError, Flow, StandardNormal, compose
from flowlab.bijectors import AffineScalar, Sigmoid
from flowlab.config.registry import lookup, names
from flowlab.objectives import DensityObjective, MaximumLikelihood, Objective, ReverseKL
from flowlab.objectives.base import as_objective
from flowlab.targets import Banana, Checkerboard, LogDensity, Uniform
from flowlab.targets.base import Target
from flowlab.training.build import build

NORMAL = Flow(StandardNormal(2), AffineScalar())


def test_every_target_is_accepted_for_maximum_likelihood():
    for target in (Uniform(), Banana(train_size=10)):
        MaximumLikelihood().check(target)


DENSITY = [name for name in names("objective") if issubclass(lookup("objective", name), DensityObjective)]


@pytest.mark.parametrize("name", DENSITY)
def test_a_flow_outside_of_the_support_is_refused(name):
    objective = as_objective(name)
    with pytest.raises(ConfigError, match=f"objective={name}: .*target=uniform has density 0 at some; .*maximum_like"):
        objective.check_training(Uniform(), NORMAL)
    with pytest.raises(ConfigError, match="density 0 at some"):
        objective.check_training(Uniform(high=[0.9, 1.0]), Flow(StandardNormal(2), Sigmoid()))


def test_a_flow_that_ends_in_the_support_is_accepted():
    ReverseKL().check_training(Uniform(), Flow(StandardNormal(2), Sigmoid()))
    ReverseKL().check_training(Uniform(high=[2.0, 3.0]), Flow(StandardNormal(2), Sigmoid()))


def test_a_flow_of_a_configuration_will_end_in_the_support_of_its_target():
    ReverseKL().check_training(Uniform(low=[0.5, 0.0]), None)

    class Odd(Uniform):
        support = constraints.lower_cholesky

    with pytest.raises(ConfigError, match="is no support that a flow can be mapped onto"):
        ReverseKL().check_training(Odd(), None)


def test_a_target_without_points_is_refused_by_an_objective_that_needs_them():
    target = LogDensity(lambda x: -x.square().sum(-1), dim=2)
    ReverseKL().check_training(target, NORMAL)
    with pytest.raises(ConfigError, match="objective=maximum_likelihood: needs points of the target"):
        MaximumLikelihood().check(target)


def test_a_density_with_holes_is_refused():
    with pytest.raises(ConfigError, match="target=checkerboard has density 0 at some"):
        ReverseKL().check_training(Checkerboard(), None)


def test_a_flow_that_is_not_built_will_end_in_the_support():
    ReverseKL().check_training(Uniform(), None)
    flow = build(compose("target=uniform", "objective=reverse_kl", "flow.depth=1")).flow
    ReverseKL().check_training(Uniform(), flow)
    with pytest.raises(ConfigError, match="density 0 at some"):
        ReverseKL().check_training(Uniform(low=[0.5, 0.0]), flow)


def test_a_target_without_a_density_is_refused():
    class Points(Target):
        name = "points"

    with pytest.raises(
        ConfigError, match="objective=reverse_kl: needs a target whose density .* use objective=maximum"
    ):
        ReverseKL().check_training(Points(), NORMAL)
    with pytest.raises(ConfigError, match="target.train_size: objective=reverse_kl trains on no data; leave it null"):
        ReverseKL().check(Banana(train_size=10))
    ReverseKL().check(Banana())


def test_an_objective_may_be_given_by_its_name():
    assert as_objective("reverse_kl") == ReverseKL()
    own = ReverseKL(gradient="path")
    assert as_objective(own) is own
    with pytest.raises(ConfigError, match="objective='reverse': no such objective; did you mean 'reverse_kl'"):
        as_objective("reverse")
    with pytest.raises(NotImplementedError, match="must define __call__"):
        Objective()(NORMAL, None, None)
