"""Simulators follow their published definitions, and their exact posteriors fit them."""

import math

import pytest
import torch

from flowlab.config.errors import DataError
from flowlab.config.registry import lookup, names
from flowlab.metrics.calibration import sbc_ranks, uniformity_p_values
from flowlab.seeding import generator
from flowlab.targets.tasks.base import Task, draw_inside

EXACT = ("two_moons", "gaussian_linear", "gaussian_linear_uniform", "gaussian_mixture")


def task_of(name):
    return lookup("task", name)()


def simulate(name, theta, count):
    return task_of(name).simulate(torch.tensor(theta, dtype=torch.float64).expand(count, -1), generator(0, "test"))


@pytest.mark.parametrize("name", names("task"))
def test_shapes_support_and_seed(name):
    task = task_of(name)
    theta = task.draw_prior(500, generator(0, "prior"))
    assert theta.shape == (500, task.dim)
    assert task.support.check(theta).all()
    assert len(task.bounds) == task.dim
    inside = torch.stack([(theta[:, k] > low) & (theta[:, k] < high) for k, (low, high) in enumerate(task.bounds)])
    assert inside.double().mean() > 0.99
    x = task.simulate(theta, generator(0, "data"))
    assert x.shape == (500, task.data_dim)
    assert x.dtype == theta.dtype == torch.float32
    assert torch.equal(x, task.simulate(theta, generator(0, "data")))


def test_two_moons_is_a_half_ring_shifted_by_the_parameters():
    theta = [0.3, -0.5]
    x = simulate("two_moons", theta, 50_000) - torch.tensor([-abs(sum(theta)), theta[1] - theta[0]]) / math.sqrt(2)
    u, v = x[:, 0] - 0.25, x[:, 1]
    radius, angle = torch.hypot(u, v), torch.atan2(v, u)
    assert float(radius.mean()) == pytest.approx(0.1, abs=3e-4)
    assert float(radius.std()) == pytest.approx(0.01, rel=0.02)
    assert float(angle.abs().max()) <= math.pi / 2
    assert float(angle.std()) == pytest.approx(math.pi / math.sqrt(12), rel=0.02)


@pytest.mark.parametrize("name", ["gaussian_linear", "gaussian_linear_uniform"])
def test_linear_tasks_have_variance_one_tenth(name):
    x = simulate(name, [0.5] * 10, 50_000)
    assert float((x.mean(0) - 0.5).abs().max()) < 0.01
    assert float((x.var(0) - 0.1).abs().max()) < 0.005


def test_gaussian_linear_prior_has_variance_one_tenth():
    theta = task_of("gaussian_linear").draw_prior(50_000, generator(0, "prior"), torch.float64)
    assert float((theta.var(0) - 0.1).abs().max()) < 0.005


def test_each_simulation_of_gaussian_mixture_picks_its_own_component():
    distance = (simulate("gaussian_mixture", [3.0, -4.0], 50_000) - torch.tensor([3.0, -4.0])).norm(dim=1)
    # P(|z| < r) = 1 - exp(-r^2 / 2) in two dimensions.
    for r in (0.1, 0.3, 1.0):
        share = 1 - (math.exp(-0.5 * r**2) + math.exp(-50 * r**2)) / 2
        assert float((distance < r).double().mean()) == pytest.approx(share, abs=0.01)


def test_slcp_has_the_mean_and_covariance_of_its_parameters():
    x = simulate("slcp", [0.7, -1.2, -1.5, 0.8, 0.6], 100_000).unflatten(1, (4, 2))
    first, second, correlation = 1.5**2, 0.8**2, math.tanh(0.6)
    both = correlation * first * second
    covariance = torch.tensor([[first**2, both], [both, second**2]], dtype=torch.float64)
    for point in x.unbind(1):
        assert float(point[:, 0].mean()) == pytest.approx(0.7, abs=0.03)
        assert float(point[:, 1].mean()) == pytest.approx(-1.2, abs=0.01)
        torch.testing.assert_close(point.T.cov(), covariance, rtol=0.03, atol=0)
    assert abs(float(torch.stack([x[:, 0, 0], x[:, 1, 0]]).corrcoef()[0, 1])) < 0.01, "the points are independent"


@pytest.mark.parametrize("name", EXACT)
def test_exact_posterior_is_calibrated(name):
    """Ranks of the true parameters are uniform, which fails if the simulator or its posterior is changed."""
    task, draws = task_of(name), generator(0, "calibration")
    theta = task.draw_prior(400, draws, torch.float64)
    samples = [task.sample_posterior(x, 99, draws) for x in task.simulate(theta, draws)]
    assert all(task.support.check(each).all() for each in samples)
    assert (uniformity_p_values(sbc_ranks(theta, torch.stack(samples)), 99) > 1e-3).all()


def test_gaussian_linear_posterior_is_half_the_data_with_half_the_variance():
    x = torch.linspace(-1, 1, 10, dtype=torch.float64)
    samples = task_of("gaussian_linear").sample_posterior(x, 50_000, generator(0, "posterior"))
    assert float((samples.mean(0) - x / 2).abs().max()) < 0.005
    assert float((samples.var(0) - 0.05).abs().max()) < 0.002


def test_two_moons_posterior_has_two_equal_crescents():
    task = task_of("two_moons")
    samples = task.sample_posterior(torch.zeros(2, dtype=torch.float64), 4000, generator(0, "posterior"))
    assert float((samples.sum(1) > 0).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_a_task_without_exact_sampler_says_so():
    with pytest.raises(NotImplementedError, match="SLCP has no exact sampler"):
        task_of("slcp").sample_posterior(torch.zeros(8), 10, generator(0, "x"))
    assert issubclass(lookup("task", "slcp"), Task)


def test_rejection_keeps_the_points_inside_and_counts_the_rest():
    task = task_of("two_moons")
    points, share = draw_inside(lambda n: 4 * task.draw_prior(n, generator(0, "wide")), task.support, 500)
    assert points.shape == (500, 2)
    assert task.support.check(points).all()
    assert share == pytest.approx(1 / 16, abs=0.01)


def test_rejection_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("flowlab.targets.tasks.base.MAX_DRAWS", 50_000)
    with pytest.raises(DataError, match=r"only 0 of [56]\d,\d{3} samples lie in the support"):
        draw_inside(lambda n: torch.full((n, 2), 7.0), task_of("two_moons").support, 1)
