"""The reverse KL divergence: its value, its full gradient, and its path gradient."""

import pytest
import torch

from flowlab import Flow, StandardNormal, compose, train
from flowlab.bijectors import AffineScalar, LowRankAffine, Sigmoid, SmoothPReLU
from flowlab.flows._assemble import assemble
from flowlab.objectives import ReverseKL
from flowlab.objectives._score import at_fixed_points, score
from flowlab.targets import Banana, Gaussian, Uniform
from flowlab.targets.base import Batch

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "batch_size=64")
FULL, PATH = ReverseKL(), ReverseKL(gradient="path")
# One for each way: a fast inverse, an inverse of d passes, a numerical inverse, and a last bijector into a box.
FLOWS = {"nsf": "flow=nsf", "iaf": "flow=iaf", "planar": "flow=planar", "squashed": "flow=realnvp"}


def test_reverse_kl_of_two_normals_equals_the_closed_form():
    """KL(N(0, 1) || N((1, 1), 4)) = log 2 + (1 + 1) / 8 - 1 / 2 in each coordinate."""
    flow, target = Flow(StandardNormal(2), AffineScalar()).double(), Gaussian((1.0, 1.0), ((2.0, 0.0), (0.0, 2.0)))
    x = flow.base.rsample((100_000,), torch.Generator().manual_seed(0))
    loss = ReverseKL()(flow, Batch(x), target)
    assert loss.shape == ()
    expected = 2 * (torch.tensor(2.0).log() + 2 / 8 - 1 / 2)
    assert loss.item() == pytest.approx(expected.item(), abs=0.01)


def test_gradient_of_reverse_kl_equals_finite_difference():
    flow = Flow(StandardNormal(2), SmoothPReLU(0.5)).double()
    batch, target = Batch(torch.randn(64, 2, dtype=torch.float64)), Banana()
    (parameter,) = flow.parameters()
    ReverseKL()(flow, batch, target).backward()
    with torch.no_grad():
        values = []
        for change in (1e-5, -2e-5):
            parameter.add_(change)
            values.append(float(ReverseKL()(flow, batch, target)))
    assert parameter.grad.item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_the_density_of_the_target_stays_in_full_precision():
    flow, target = Flow(StandardNormal(2), SmoothPReLU(0.5)), Gaussian((1.0, 1.0), ((2.0, 0.3), (0.7, 1.1)))
    objective, batch = ReverseKL(), Batch(torch.randn(64, 2))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective(flow, batch, target)
    assert torch.equal(mixed, objective(flow, batch, target))


def test_reverse_kl_fits_a_gaussian(tmp_path):
    words = ("target=gaussian_full", "objective=reverse_kl", "max_steps=600", "flow.depth=1")
    run = train(compose(*SMALL, *words), tmp_path / "run")
    assert run.result["kl"] < 0.01
    assert run.metrics["loss"].iloc[-1] == pytest.approx(0.0, abs=0.01), "the loss is a KL"


def new_flow(name, dim=3):
    """Return a flow in double precision with random parameters."""
    architecture = compose(FLOWS[name], "flow.depth=2").flow
    last = Sigmoid() if name == "squashed" else None
    flow = assemble(architecture, (dim,), None, torch.Generator().manual_seed(0), last, torch.float64)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
    return flow


def new_batch(count, dim=3, seed=2):
    return Batch(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def gradient(objective, flow, batch, target):
    """Return the loss, and its gradient as one vector."""
    loss = objective(flow, batch, target)
    parts = torch.autograd.grad(loss, list(flow.parameters()), allow_unused=True, materialize_grads=True)
    return loss.detach(), torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("name", FLOWS)
def test_the_score_is_the_gradient_of_the_density_by_the_point(name):
    flow, x = new_flow(name), new_batch(20).x
    y = flow.push_forward(x)[0]
    point = y.detach().requires_grad_()
    (expected,) = torch.autograd.grad(flow.log_prob(point).sum(), point)
    found = score(flow, x, y)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", FLOWS)
def test_the_density_at_fixed_points_has_the_gradient_of_log_prob(name):
    flow, x = new_flow(name), new_batch(20).x
    y, log_prob = flow.push_forward(x)
    expected = flow.log_prob(y.detach())
    found = at_fixed_points(flow, x, y, log_prob)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    for parameter in flow.parameters():
        ours, theirs = (
            torch.autograd.grad(each.sum(), parameter, retain_graph=True, materialize_grads=True, allow_unused=True)[0]
            for each in (found, expected)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FLOWS)
def test_the_path_gradient_is_the_full_one_without_the_gradient_at_fixed_points(name):
    """The part that is left out is the mean of dlog q(y) / dtheta at fixed y; the value stays the same."""
    flow, batch, target = new_flow(name), new_batch(50), Gaussian([0.3] * 3, torch.eye(3).tolist())
    value, full = gradient(FULL, flow, batch, target)
    path_value, path = gradient(PATH, flow, batch, target)
    assert torch.equal(path_value, value)
    y, _ = flow.push_forward(batch.x)
    parts = torch.autograd.grad(flow.log_prob(y.detach()).mean(), list(flow.parameters()), materialize_grads=True)
    left_out = torch.cat([part.flatten() for part in parts])
    torch.testing.assert_close(full - path, left_out, rtol=1e-5, atol=1e-6)
    assert left_out.norm() > 1e-3, "the two gradients differ"


@pytest.mark.parametrize("name", FLOWS)
def test_both_gradients_have_the_same_mean(name):
    """Over 100 minibatches the difference is 0 within 3 standard errors along random directions, but for 1 in 20."""
    flow, target = new_flow(name), Gaussian([0.3] * 3, (2 * torch.eye(3)).tolist())
    differences = []
    for seed in range(100):
        batch = new_batch(64, seed=seed)
        differences.append(gradient(FULL, flow, batch, target)[1] - gradient(PATH, flow, batch, target)[1])
    stacked = torch.stack(differences)
    directions = torch.randn(stacked.shape[1], 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    along = stacked @ directions
    errors = along.mean(0) / (along.std(0) / len(along) ** 0.5)
    assert (errors.abs() < 3).sum() >= 19, errors
    assert errors.abs().max() > 0.01, "the gradients are not the same in each minibatch"


def test_the_path_gradient_has_no_variance_at_the_optimum():
    """The flow is the target itself: the path gradient of each minibatch is 0, the full one is not."""
    flow = Flow(StandardNormal(2), LowRankAffine(2, generator=torch.Generator().manual_seed(0))).double()
    with torch.no_grad():
        origin, *columns = flow.bijector(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64))
    target = Gaussian(origin.tolist(), (torch.stack(columns, -1) - origin[:, None]).tolist())
    full, path = [], []
    for seed in range(20):
        batch = new_batch(16, 2, seed)
        value, gradient_of_batch = gradient(FULL, flow, batch, target)
        assert value == pytest.approx(0.0, abs=1e-12)
        full.append(gradient_of_batch)
        path.append(gradient(PATH, flow, batch, target)[1])
    assert torch.stack(path).abs().max() < 1e-12
    assert torch.stack(full).std(0).min() > 0.01


def test_a_target_with_bounded_support_is_fitted_by_a_flow_that_ends_in_it():
    """Uniform on the unit square: the reverse KL of a flow with a last sigmoid is minus its entropy."""
    flow, target = Flow(StandardNormal(2), Sigmoid()).double(), Uniform()
    FULL.check_training(target, flow)
    x = new_batch(4000, 2).x
    log_prob = flow.push_forward(x)[1]
    torch.testing.assert_close(FULL(flow, Batch(x), target), log_prob.mean())
    assert log_prob.mean() > 0
