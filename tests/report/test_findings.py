"""What a report says of flows and rows whose truth is known, and of conditional and weighted targets."""

import math

import numpy as np
import pytest
import torch

from flowlab import Flow
from flowlab.bijectors import Bijector
from flowlab.report.findings import Measured, find, sum_up
from flowlab.report.page import build_page
from flowlab.report.record import Record
from flowlab.report.subject import Subject
from flowlab.targets.base import Batch, ExactTarget, Target
from flowlab.targets.draws import randn
from flowlab.targets.file import FileTarget

ENDED = Record("run", "rows.csv", "nsf", 10, 0, "", best_step=5, steps=9, ended_by="max_steps")


def standard_normal(dim=2):
    return Flow(torch.distributions.Independent(torch.distributions.Normal(torch.zeros(dim), 1.0), 1), Identity())


class Identity(Bijector):
    domain = codomain = torch.distributions.constraints.real

    def forward_and_log_det(self, x, context=None):
        return x, torch.zeros_like(x)

    inverse_and_log_det = forward_and_log_det


class Rows(Target):
    """Given rows, a third in each split."""

    def __init__(self, x, weights=None):
        self.x, self.weights = torch.as_tensor(x), weights
        self.dim = self.x.shape[1]
        third = len(self.x) // 3
        self.places = {
            name: slice(k * third, (k + 1) * third) for k, name in enumerate(("train", "validation", "test"))
        }

    def rows(self, split, count, seed, dtype=None):
        return self.x[self.places[split]].to(dtype)

    def row_weights(self, split):
        return None if self.weights is None else self.weights[self.places[split]]


def measure(rows, weights=None):
    rows = np.asarray(rows)
    target = Rows(rows, weights)
    return Measured(Subject(standard_normal(target.dim), target, target.columns))


def words(measured, record=ENDED):
    return [finding.text for finding in find(measured, record) if finding.is_warning]


@pytest.fixture(scope="module")
def perfect():
    return measure(np.random.default_rng(0).normal(size=(6000, 2)))


def test_a_perfect_flow_has_no_warning(perfect):
    assert words(perfect) == []
    assert "worse" not in sum_up(perfect)


def test_the_flow_is_scored_in_nats(perfect):
    flow, *others = perfect.scores
    assert flow.mean == pytest.approx(-1 - math.log(2 * math.pi), abs=4 * flow.error)
    assert flow.error == pytest.approx(1 / math.sqrt(2000), rel=0.1)
    gaussian = next(score for score in others if score.title == "Gaussian")
    assert abs(gaussian.lead) < 0.01
    assert gaussian.lead_error < flow.error / 5  # paired


def test_a_bad_flow_is_below_the_gaussian_and_its_rows_differ():
    bad = measure(3 + np.random.default_rng(0).normal(size=(3000, 2)))
    said = words(bad)
    assert any(text.startswith("The flow is below the Gaussian by 9.") for text in said)
    assert any("A classifier tells generated rows from real ones" in text for text in said)
    assert any("The distribution of generated values differs from the real one in x1 (0.8" in text for text in said)
    assert any("outside the range of the training rows in x1 (" in text for text in said)
    assert any("The tails of generated values" in text for text in said)
    assert any("log densities of real rows and of generated rows differ" in text for text in said)
    assert "worse than the" in sum_up(bad)


@pytest.mark.parametrize("far", [0.5, 9.0])
def test_rows_of_density_zero_are_worse_than_any_model(far):
    base = torch.distributions.Independent(torch.distributions.Uniform(torch.zeros(2), 1.0), 1)
    target = Rows(np.random.default_rng(0).normal(far, 0.2, size=(3000, 2)))
    bounded = Measured(Subject(Flow(base, Identity()), target, target.columns))
    assert any("test rows the density 0, so it calls them impossible" in text for text in words(bounded))
    assert sum_up(bounded).startswith("On held-out rows the flow is worse than the ")
    assert "Log densities" in build_page(bounded, ENDED, ["flowlab-report"])


def test_few_rows_and_copies_are_named():
    few = measure(np.random.default_rng(0).normal(size=(90, 2)))
    assert "There are 30 test rows; all numbers below are rough." in words(few)
    assert "There are 30 training rows for 2 columns; a flow can memorize them." in words(few)
    x = np.random.default_rng(0).normal(size=(2000, 2))
    said = words(measure(np.concatenate([x, x, x])))
    assert any(
        text.startswith("0.0 % of the training rows are copies")
        for text in [text.replace("\N{NO-BREAK SPACE}", " ") for text in said]
    )
    assert any("100.0\N{NO-BREAK SPACE}% of the test rows are copies of training rows" in text for text in said)


def test_how_training_ended(perfect):
    def said(**changes):
        return [finding.text for finding in find(perfect, Record(**vars(ENDED) | changes))]

    assert said() == []
    assert said(best_step=9) == [
        "The last validation, at step 9, was the best one: more max_steps may improve the flow."
    ]
    assert said(best_step=2)[0].startswith("The best validation was at step 2 of 9: later steps memorized")
    assert said(ended_by="max_time")[0].startswith("Training ended at step 9, when its time was over")
    assert said(notes=["a column repeats"]) == ["About the data: a column repeats."]


def test_weighted_rows_are_drawn_by_their_weights():
    x = np.random.default_rng(0).normal(size=(6000, 1)) + np.repeat([0.0, 50.0], 3000).reshape(2, 3, 1000).swapaxes(
        0, 1
    ).reshape(6000, 1)
    weights = torch.tensor(np.where(x[:, 0] > 25, 0.0, 1.0))
    weighted = measure(x, weights)
    assert float(weighted.subject.test.x.max()) < 25
    assert len(weighted.subject.test.x) == 1000
    assert words(weighted) == []


class Shifted(ExactTarget):
    """x | c ~ N(c, 1)."""

    dim = 1
    context_shape = (1,)
    bounds = ((-4.0, 4.0),)
    entropy = 0.5 * math.log(2 * math.pi * math.e)

    def draw_batch(self, count, generator, dtype):
        return Batch(randn((count, 1), generator, dtype), 3 * randn((count, 1), generator, dtype))

    def batch_from_draws(self, drawn):
        return Batch(drawn.x + drawn.context, drawn.context)

    def log_prob(self, x, context=None):
        return -0.5 * (x - context).square().sum(-1) - 0.5 * math.log(2 * math.pi)


class Shift(Bijector):
    domain = codomain = torch.distributions.constraints.real

    def forward_and_log_det(self, x, context=None):
        return x + context, torch.zeros_like(x)

    def inverse_and_log_det(self, y, context=None):
        return y - context, torch.zeros_like(y)


def test_conditional_rows_are_generated_at_the_contexts_of_test_rows(monkeypatch):
    import flowlab.report.subject as module

    monkeypatch.setattr(module, "TEST_ROWS", 2000)
    monkeypatch.setattr(module, "TRAIN_ROWS", 2000)
    flow = Flow(torch.distributions.Independent(torch.distributions.Normal(torch.zeros(1), 1.0), 1), Shift())
    measured = Measured(Subject(flow, Shifted(), ["x"]))
    test, made = measured.subject.test, measured.subject.generated
    assert torch.equal(made.context[:2000], test.context)
    assert float((made.x[:2000] - test.context).std()) == pytest.approx(1, abs=0.1)
    assert float(made.x.std()) > 2.5
    gaussian = next(score for score in measured.scores if score.title == "Gaussian")
    assert gaussian.mean == pytest.approx(-0.5 - 0.5 * math.log(2 * math.pi), abs=0.1)  # of x given c, not of (x, c)
    assert words(measured) == []


def test_the_rows_of_a_file_are_counted(tmp_path):
    path = tmp_path / "rows.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(100, 2)), delimiter=",", header="a,b", comments="")
    target = FileTarget(path)
    assert Subject(standard_normal(), target, target.columns).sizes() == {"train": 70, "validation": 15, "test": 15}
