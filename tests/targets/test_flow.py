"""A trained flow as a target: exact, frozen, tied to its weights, and read from a run."""

import json
import math
import re

import numpy as np
import pytest
import torch

from flowlab import ConfigError, Flow, StandardNormal, compose, fit, resume, train
from flowlab.bijectors import AffineScalar, Exp, LowRankAffine
from flowlab.targets import Banana, FlowTarget
from flowlab.targets.flow import FlowSettings

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=200", "batch_size=64")


def teacher(shift=1.0, scale=2.0, dim=2):
    return Flow(StandardNormal(dim), AffineScalar(shift, scale))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A teacher's run, of a small MAF."""
    place = tmp_path_factory.mktemp("teacher") / "run"
    return train(compose(*SMALL, "flow=maf", "flow.depth=2", "flow.hidden=[8]", "max_steps=30"), place)


def test_density_and_samples_are_the_flows():
    flow = teacher()
    target = FlowTarget(flow)
    x = torch.randn(50, 2)
    assert torch.equal(target.log_prob(x), flow.log_prob(x))
    points = target.rows("test", 20_000, 0)
    torch.testing.assert_close(points.mean(0), torch.ones(2), atol=0.06, rtol=0)
    torch.testing.assert_close(points.std(0), torch.full((2,), 2.0), atol=0.06, rtol=0)
    assert torch.equal(points[:5], FlowTarget(flow).rows("test", 20_000, 0)[:5]), "the seed alone decides"
    low, high = zip(*target.bounds, strict=True)
    assert max(low) < -3.5
    assert min(high) > 5.5


def test_points_and_densities_have_the_dtype_of_the_caller():
    target = FlowTarget(teacher().double())
    assert target.rows("test", 5, 0).dtype == torch.float32
    assert target.log_prob(torch.zeros(3, 2)).dtype == torch.float32
    narrow = FlowTarget(teacher())
    torch.testing.assert_close(narrow.rows("test", 5, 0, torch.float64), narrow.rows("test", 5, 0).double())
    assert narrow.log_prob(torch.zeros(3, 2).double()).dtype == torch.float64


def test_it_has_a_copy_of_the_flow_that_training_leaves_alone():
    flow = Flow(StandardNormal(2), LowRankAffine(2))
    target = FlowTarget(flow)
    before = [parameter.clone() for parameter in target.flow.parameters()]
    fit(flow, target, objective="reverse_kl", steps=5, progress="off")
    assert all(parameter.requires_grad for parameter in flow.parameters())
    assert not any(parameter.requires_grad for parameter in target.flow.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, target.flow.parameters(), strict=True))


def test_the_fingerprint_follows_the_weights():
    assert FlowTarget(teacher()).fingerprint == FlowTarget(teacher()).fingerprint
    assert FlowTarget(teacher()).fingerprint != FlowTarget(teacher(scale=2.1)).fingerprint


def test_the_estimate_of_the_entropy_is_within_its_error():
    value, error = FlowTarget(teacher()).estimate_entropy()
    assert 0 < error < 0.01
    assert value == pytest.approx(math.log(2 * math.pi * math.e) + 2 * math.log(2), abs=4 * error)
    assert FlowTarget(teacher()).entropy is None


def test_a_student_ends_on_the_support_of_its_teacher():
    positive = FlowTarget(Flow(StandardNormal(1), Exp()))
    student = fit(Flow(StandardNormal(1), LowRankAffine(1)), positive, objective="reverse_kl", steps=1, progress="off")
    assert positive.support.check(student.flow.sample((1000,))).all()


def test_a_batch_of_flows_is_refused():
    with pytest.raises(ConfigError, match=re.escape("the flow is a batch of (3,) distributions")):
        FlowTarget(Flow(torch.distributions.Normal(torch.zeros(3), torch.ones(3)), Exp()))


def test_a_standardized_teacher_has_a_standardized_student():
    target = FlowTarget(teacher(shift=100.0, scale=5.0), standardize=True)
    center, spread = target.standardization
    torch.testing.assert_close(center, torch.full((2,), 100.0).double(), atol=0.3, rtol=0)
    torch.testing.assert_close(spread, torch.full((2,), 5.0).double(), atol=0.2, rtol=0)
    assert FlowTarget(teacher()).standardization is None


def test_a_student_learns_the_flow_of_a_run(runs, tmp_path):
    words = ("target=flow", f"target.run={runs.directory}", "objective=reverse_kl", "flow.depth=2", "max_steps=300")
    student = train(compose(*SMALL, *words), tmp_path / "student")
    # An untrained student is a standard normal.
    start = FlowTarget(runs.flow)
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    before = float((StandardNormal(2).log_prob(x) - start.log_prob(x)).mean())
    assert student.result["reverse_kl"] < 0.5 * before
    assert student.provenance["data_sha256"] == start.fingerprint
    assert "entropy" not in student.result


def test_a_student_of_a_changed_teacher_does_not_resume(tmp_path):
    """A run that is trained on after a student began is no longer the student's teacher."""
    small = (*SMALL, "flow.depth=1", "max_steps=10")
    first = train(compose(*small), tmp_path / "teacher")
    words = ("target=flow", f"target.run={first.directory}", "objective=reverse_kl")
    student = train(compose(*small, *words), tmp_path / "student")
    resume(student.directory, "max_steps=12")
    resume(first.directory, "max_steps=20")
    with pytest.raises(ConfigError, match=r"teacher.checkpoints.last\.ckpt: the file has changed since the run began"):
        resume(student.directory, "max_steps=14")


def test_its_directory_is_found_from_everywhere(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(runs.directory.parent)
    settings = FlowSettings(run="run").with_absolute_paths()
    monkeypatch.chdir(tmp_path)
    assert settings.build().event_shape == (2,)


def test_mistakes_are_answered_in_words(runs, tmp_path):
    with pytest.raises(ConfigError, match="not a run directory"):
        compose("target=flow", f"target.run={tmp_path}").target.build()
    with pytest.raises(ConfigError, match=r"target.run: must be given"):
        compose("target=flow")
    copied = tmp_path / "running"
    copied.mkdir()
    (copied / "config.yaml").write_bytes((runs.directory / "config.yaml").read_bytes())
    (copied / "status.json").write_text(json.dumps({"status": "running"}))
    with pytest.raises(ConfigError, match="is not done, and its weights may change; finish it first: resume="):
        FlowSettings(run=str(copied)).build()


def test_a_conditional_flow_is_refused(tmp_path):
    np.savetxt(tmp_path / "points.csv", np.random.default_rng(0).normal(size=(40, 2)), delimiter=",", header="a,b")
    words = ("target=file", f"target.path={tmp_path / 'points.csv'}", "target.context=[b]", "target.comment=null")
    (tmp_path / "points.csv").write_text((tmp_path / "points.csv").read_text().removeprefix("# "))
    run = train(compose(*SMALL, *words, "flow=maf", "flow.depth=1", "max_steps=2"), tmp_path / "run")
    with pytest.raises(ConfigError, match="its flow is conditional, and a flow does not say which contexts to draw"):
        FlowSettings(run=str(run.directory)).build()


def test_points_of_a_teacher_train_by_maximum_likelihood():
    student, target = Flow(StandardNormal(2), LowRankAffine(2)), FlowTarget(teacher(), train_size=2000)
    fit(student, target, steps=150, lr=0.05, progress="off")
    with torch.no_grad():
        kl = float((target.log_prob(x := target.rows("test", 5000, 1)) - student.log_prob(x)).mean())
    assert abs(kl) < 0.05


def test_figures_of_a_target_need_a_shape_and_bounds():
    assert len(FlowTarget(teacher(dim=3)).bounds) == 3
    assert FlowTarget(teacher()).columns == Banana().columns
