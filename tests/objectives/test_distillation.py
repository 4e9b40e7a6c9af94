"""Density distillation: the closed KL of normal conditionals, which pairs have it, and runs."""

import pytest
import torch

from flowlab import ConfigError, Flow, StandardNormal, compose, fit, resume, train, train_many
from flowlab.bijectors import AffineScalar, LowRankAffine
from flowlab.flows._assemble import assemble
from flowlab.flows.autoregressive import AutoregressiveFlow
from flowlab.objectives import Distillation
from flowlab.objectives.distillation import normal_kl
from flowlab.seeding import generator
from flowlab.targets import Banana, FlowTarget
from flowlab.targets.base import Batch

DIM = 4
SMALL = ("trainer.progress=off", "test_size=500", "validation_size=200", "batch_size=64", "flow.hidden=[8]")
ONE_ORDER = ("flow.depth=2", "flow.reverse=false")


def make(fast, seed, depth=2, reverse=False, map="affine"):
    """A flow with random weights, in float64."""
    settings = AutoregressiveFlow(depth=depth, map=map, hidden=[16], fast=fast, reverse=reverse)
    flow = assemble(settings, (DIM,), None, generator(seed, "start")).double()
    with torch.no_grad():
        for number, parameter in enumerate(flow.parameters()):
            noise = torch.randn(parameter.shape, generator=generator(seed, "weights", number), dtype=torch.float64)
            parameter.add_(0.15 * noise)
    return flow


def losses(student, target, estimator, count=200, points=100):
    """The losses of independent minibatches, of shape (count,)."""
    objective = Distillation(estimator=estimator)
    with torch.no_grad():
        batches = [student.rsample_base((points,), generator=generator(0, "batch", number)) for number in range(count)]
        return torch.stack([objective(student, Batch(x), target) for x in batches])


def gradients(student, target, estimator, count=100, points=50):
    objective, parameters = Distillation(estimator=estimator), list(student.parameters())
    rows = []
    for number in range(count):
        loss = objective(student, Batch(student.rsample_base((points,), generator=generator(1, "b", number))), target)
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)]))
    return torch.stack(rows)


@pytest.mark.parametrize(("student", "teacher"), [("samples", "density"), ("density", "samples")])
def test_both_estimators_have_one_expectation_and_the_closed_form_less_variance(student, teacher):
    student, target = make(student, 1), FlowTarget(make(teacher, 2))
    assert Distillation().why_not_closed(student, target) == ""
    closed, plain = (losses(student, target, estimator) for estimator in ("closed", "monte_carlo"))
    difference = closed - plain
    assert closed.mean() > 0.1, "they differ"
    assert abs(difference.mean()) < 3 * difference.std() / len(difference) ** 0.5
    assert closed.var() < 0.6 * plain.var()


def test_both_gradients_have_one_expectation_and_the_closed_form_less_variance():
    student, target = make("samples", 1), FlowTarget(make("density", 2))
    closed, plain = (gradients(student, target, estimator) for estimator in ("closed", "monte_carlo"))
    difference = closed - plain
    scores = (difference.mean(0) / (difference.std(0) / len(difference) ** 0.5)).nan_to_num()
    assert scores.square().mean() < 2, "of about 1 where the expectations are equal"
    assert closed.var(0).sum() < plain.var(0).sum()


def test_the_closed_gradient_of_an_equal_student_is_zero_for_every_minibatch():
    student = make("samples", 1)
    target = FlowTarget(student)
    assert gradients(student, target, "closed", count=3).abs().max() < 1e-10
    assert gradients(student, target, "monte_carlo", count=3).abs().max() > 1e-3


def test_auto_takes_the_closed_form_where_it_exists():
    student, target = make("samples", 1), FlowTarget(make("density", 2))
    assert torch.equal(losses(student, target, "auto", 3), losses(student, target, "closed", 3))
    deep = make("samples", 1, reverse=True)
    assert torch.equal(losses(deep, target, "auto", 3), losses(deep, target, "monte_carlo", 3))


@pytest.mark.parametrize(
    ("student", "teacher", "why"),
    [
        (make("samples", 1, reverse=True), make("density", 2), "of the student are not Gaussian: layer 2 takes the"),
        (make("samples", 1), make("density", 2, map="spline"), "of the teacher are not Gaussian: layer 1, .*Spline"),
        (
            make("samples", 1),
            Flow(
                torch.distributions.Independent(torch.distributions.Laplace(torch.zeros(DIM), 1.0), 1), AffineScalar()
            ),
            "the base of the teacher is Independent, not StandardNormal",
        ),
    ],
)
def test_a_pair_without_closed_form_is_refused_in_words(student, teacher, why):
    objective, target = Distillation(estimator="closed"), FlowTarget(teacher)
    with pytest.raises(ConfigError, match=f"objective.estimator=closed: .*{why}.*; use objective.estimator=auto"):
        objective.check_training(target, student)
    with pytest.raises(ConfigError, match="objective.estimator=closed"):
        fit(student, target, objective=objective, steps=1, progress="off")


def test_orders_must_be_equal():
    other = make("density", 2)
    for part in other.bijector.parts:
        part.conditioner.order = part.conditioner.order[::-1]
    assert "in different orders" in Distillation().why_not_closed(make("samples", 1), FlowTarget(other))


def test_a_target_that_is_no_flow_is_refused():
    with pytest.raises(ConfigError, match="objective=distillation: needs a trained flow .* use objective=reverse_kl"):
        Distillation().check(Banana())


def test_the_kl_of_normals_equals_torchs():
    draw = torch.Generator().manual_seed(0)
    mean, log_scale, other_mean, other = torch.randn(4, 10, generator=draw, dtype=torch.float64)
    normals = [torch.distributions.Normal(*pair) for pair in ((mean, log_scale.exp()), (other_mean, other.exp()))]
    torch.testing.assert_close(
        normal_kl(mean, log_scale, other_mean, other), torch.distributions.kl_divergence(*normals)
    )


def test_the_teacher_gets_no_gradient_and_stays_as_it_is():
    student, target = make("samples", 1), FlowTarget(make("density", 2))
    before = [parameter.clone() for parameter in target.flow.parameters()]
    for estimator in ("closed", "monte_carlo"):
        Distillation(estimator=estimator)(student, Batch(torch.randn(9, DIM).double()), target).backward()
    assert all(parameter.grad is None for parameter in target.flow.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())
    fit(student, target, objective="distillation", steps=5, progress="off")
    assert all(torch.equal(old, new) for old, new in zip(before, target.flow.parameters(), strict=True))


@pytest.mark.parametrize("estimator", ["closed", "monte_carlo"])
def test_a_student_of_its_teachers_kind_learns_it(estimator):
    teacher = Flow(StandardNormal(2), AffineScalar(torch.tensor([1.0, -1.0]), torch.tensor([2.0, -0.5])))
    parts = AffineScalar(torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.ones(2)))
    student, target = Flow(StandardNormal(2), parts), FlowTarget(teacher)
    fit(student, target, objective=Distillation(estimator=estimator), steps=400, lr=0.05, progress="off")
    torch.testing.assert_close(parts.shift, torch.tensor([1.0, -1.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(parts.scale.abs(), torch.tensor([2.0, 0.5]), atol=0.03, rtol=0)


def test_precisions_may_differ_and_autocast_leaves_the_kl_alone():
    student, target = make("samples", 1).float(), FlowTarget(make("density", 2))
    x = torch.randn(9, DIM)
    loss = Distillation()(student, Batch(x), target)
    assert loss.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        mixed = Distillation()(student, Batch(x), target)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, loss, rtol=0.05, atol=0.05)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The run of a teacher with Gaussian conditionals."""
    place = tmp_path_factory.mktemp("teacher") / "run"
    return train(compose(*SMALL, *ONE_ORDER, "flow=maf", "max_steps=200"), place)


def words(teacher, *more):
    return (*SMALL, "target=flow", f"target.run={teacher.directory}", "objective=distillation", "flow=iaf", *more)


def test_a_resumed_student_equals_one_that_was_not_interrupted(teacher, tmp_path):
    settings = words(teacher, *ONE_ORDER, "optimizer.schedule=constant", "trainer.checkpoint_every=10")
    whole = train(compose(*settings, "max_steps=30"), tmp_path / "whole")
    part = train(compose(*settings, "max_steps=20"), tmp_path / "part")
    resume(part.directory, "max_steps=30")
    for one, other in zip(whole.load_flow().parameters(), part.load_flow().parameters(), strict=True):
        assert torch.equal(one, other)


def test_students_are_trained_as_a_stack(teacher, tmp_path):
    configs = [compose(*words(teacher, *ONE_ORDER, "max_steps=30", f"seed={seed}")) for seed in (0, 1)]
    said = []
    runs = train_many(configs, [tmp_path / "0", tmp_path / "1"], say=said.append)
    assert "stack" in " ".join(said)
    for run, config in zip(runs, configs, strict=True):
        alone = train(config, tmp_path / f"alone{config.seed}")
        for one, other in zip(run.load_flow().parameters(), alone.load_flow().parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_closed_estimator_is_checked_before_a_run_begins(teacher, tmp_path):
    settings = words(teacher, "flow.depth=2", "objective.estimator=closed", "max_steps=5")
    with pytest.raises(ConfigError, match="objective.estimator=closed: .*different order"):
        train(compose(*settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_student_of_another_form_learns_by_monte_carlo(teacher, tmp_path):
    student = train(compose(*words(teacher, "flow.depth=2", "max_steps=300")), tmp_path / "run")
    assert student.result["reverse_kl"] < 0.2
    assert isinstance(student.flow.bijector.parts[0], type(LowRankAffine(2).inv)) is True
