"""Log densities of held-out points, and the metrics of every run."""

import math

import pytest
import scipy.stats
import torch

from flowlab import Flow, StandardNormal
from flowlab.bijectors import AffineScalar, Bijector, LowRankAffine, Tanh
from flowlab.config.registry import names
from flowlab.metrics import evaluation
from flowlab.metrics.evaluation import TEST, evaluate, gaussian_nll, reverse_kl
from flowlab.targets import Gaussian
from flowlab.targets.base import Batch


def measure(flow, points, target=None):
    return evaluate(flow, Batch(points), target).measure(TEST)


def test_metrics_equal_closed_forms():
    """N(0, 1) against N((1, 1), 2 I): KL = sum of log(1 / 2) + (4 + 1) / 2 - 1 / 2 over both coordinates."""
    target = Gaussian()
    points = target.rows("test", 200_000, seed=0, dtype=torch.float64)
    measured = measure(Flow(StandardNormal(2), AffineScalar()).double(), points, target)
    kl = 2 * (math.log(1 / 2) + (4 + 1) / 2 - 1 / 2)
    assert measured["kl"] == pytest.approx(kl, abs=4 * measured["kl_se"])
    assert measured["nll"] == pytest.approx(target.entropy + kl, abs=4 * measured["nll_se"])
    assert measured["bits_per_dim"] == pytest.approx(measured["nll"] / (2 * math.log(2)))
    assert measured["inverse_error"] < 1e-12
    scores = points.square().sum(1) / 2 + math.log(2 * math.pi)
    assert measured["nll_se"] == pytest.approx(float(scores.std()) / math.sqrt(len(points)), rel=1e-6)
    ratios = target.log_prob(points) + scores
    assert measured["kl_se"] == pytest.approx(float(ratios.std()) / math.sqrt(len(points)), rel=1e-6)


def test_every_metric_is_measured():
    target = Gaussian()
    measured = evaluate(Flow(StandardNormal(2), AffineScalar()), target.batch("test", 10, 0), target)
    assert set(measured.measure(names("metric"))) >= set(TEST)


def test_kl_of_an_exact_flow_is_zero():
    target = Gaussian()
    flow = Flow(StandardNormal(2), AffineScalar(shift=1.0, scale=2.0)).double()
    measured = measure(flow, target.rows("test", 1000, 0, torch.float64), target)
    assert abs(measured["kl"]) < 1e-12
    assert measured["kl_se"] < 1e-12


def test_chunk_size_does_not_change_metrics(monkeypatch):
    target = Gaussian()
    flow = Flow(StandardNormal(2), AffineScalar()).double()
    points = target.rows("test", 1001, 0, torch.float64)
    whole = measure(flow, points, target)
    monkeypatch.setattr(evaluation.chunks, "__defaults__", (100,))
    assert [len(part.x) for part in evaluation.chunks(Batch(points))] == [100] * 10 + [1]
    assert measure(flow, points, target) == whole


def test_float32_log_densities_are_averaged_in_float64():
    flow, points = Flow(StandardNormal(2), AffineScalar()), 1 + Gaussian().rows("test", 10_001, 0)
    scores = -flow.log_prob(points).double()
    measured = measure(flow, points)
    assert measured["nll"] == pytest.approx(scores.mean().item(), rel=1e-14)
    assert measured["nll_se"] == pytest.approx(scores.std().item() / math.sqrt(len(points)), rel=1e-14)


def test_density_and_inverse_error_share_one_inverse(monkeypatch):
    calls = []

    class Counting(AffineScalar):
        def inverse_and_log_det(self, y, context=None):
            calls.append(len(y))
            return super().inverse_and_log_det(y, context)

    flow = Flow(StandardNormal(2), Counting(shift=1.0, scale=3.0))
    points = Gaussian().rows("test", 1001, 0)
    monkeypatch.setattr(evaluation.chunks, "__defaults__", (500,))
    measured = measure(flow, points)
    assert calls == [500, 500, 1]
    error = (flow.bijector.forward(flow.bijector.inverse(points)) - points).abs().max().item()
    assert measured["inverse_error"] == error > 0


def test_a_quick_evaluation_maps_few_points_back_where_that_is_slow(monkeypatch):
    calls = []

    class Slow(AffineScalar):
        forward_passes = 2

        def forward(self, x, context=None):
            calls.append(len(x))
            return super().forward(x, context)

    points = Batch(Gaussian().rows("test", 50, 0))
    monkeypatch.setattr(evaluation, "MAPPED_BACK", 20)
    results = []
    for kind, quick in ((Slow, True), (Slow, False), (AffineScalar, True)):
        flow = Flow(StandardNormal(2), kind(shift=1.0, scale=3.0))
        results.append(evaluate(flow, points, quick=quick))
    assert calls == [20, 50]
    assert [len(each.inverse_errors) for each in results] == [20, 50, 50]
    torch.testing.assert_close(results[0].inverse_errors, results[1].inverse_errors[:20])
    torch.testing.assert_close(results[0].log_prob, results[1].log_prob)


def test_point_outside_the_image_has_infinite_nll():
    measured = measure(Flow(StandardNormal(2), Tanh()), torch.tensor([[0.5, 0.5], [0.5, 1.5]]))
    assert measured["nll"] == math.inf
    assert math.isnan(measured["inverse_error"])


def test_kl_is_missing_without_a_known_density():
    measured = measure(Flow(StandardNormal(2), AffineScalar()), torch.randn(10, 2))
    assert set(TEST) - set(measured) == {"kl", "kl_se"}


def test_points_are_scored_with_their_contexts():
    class Shifted(Bijector):
        def forward_and_log_det(self, x, context=None):
            return x + context, torch.zeros_like(x)

        def inverse_and_log_det(self, y, context=None):
            return y - context, torch.zeros_like(y)

    context = torch.randn(1001, 2)
    flow, noise = Flow(StandardNormal(2), Shifted()), torch.randn(1001, 2)
    evaluation = evaluate(flow, Batch(noise + context, context))
    expected = StandardNormal(2).log_prob(noise).double()
    torch.testing.assert_close(evaluation.log_prob, expected, rtol=1e-4, atol=1e-4)
    assert evaluation.measure(["inverse_error"])["inverse_error"] < 1e-5


def test_gaussian_baseline_against_scipy():
    train, test = Gaussian([0.4, 1.0], [[2.0, 0.3], [-1.0, 4.0]]).rows("train", 900, 0).split([20, 880])
    known = scipy.stats.multivariate_normal(train.mean(0), train.double().mT.cov(correction=0))
    assert gaussian_nll(train, test) == pytest.approx(-known.logpdf(test).mean(), rel=1e-5)
    assert gaussian_nll(torch.zeros(5, 2), test) == math.inf


@pytest.mark.parametrize("dim", [1, 2, 9])
def test_gaussian_baseline_does_not_depend_on_the_units_of_the_columns(dim):
    draws = torch.Generator().manual_seed(0)
    mix = torch.randn(dim, dim, generator=draws, dtype=torch.float64)
    points = torch.randn(900, dim, generator=draws, dtype=torch.float64) @ mix
    units, origin = 10.0 ** torch.linspace(-9, 9, dim).double(), 1e3 * torch.arange(dim)
    plain, scaled = (gaussian_nll(*x.split([600, 300])) for x in (points, points * units + origin * units))
    assert scaled == pytest.approx(plain + float(units.log().sum()), rel=1e-9)
    if dim > 1:
        assert gaussian_nll(points.index_fill(1, torch.tensor([0]), 3.0), points) == math.inf
        assert gaussian_nll(points[:, [0, 0]] * units[[0, -1]], points[:, :2]) == math.inf, "collinear"


def test_reverse_kl_is_that_of_the_flow_from_the_target():
    flow = Flow(StandardNormal(2), LowRankAffine(2, rank=0)).double()
    target = Gaussian(mean=[1.0, 0.0], factor=[[2.0, 0.0], [0.0, 2.0]])
    found = reverse_kl(flow, target, 50_000, seed=0)
    points = flow.sample(400_000)
    expected = (flow.log_prob(points) - target.log_prob(points)).mean().item()
    assert abs(found["reverse_kl"] - expected) < 5 * found["reverse_kl_se"]
    assert found == reverse_kl(flow, target, 50_000, seed=0), "it depends on the seed alone"
