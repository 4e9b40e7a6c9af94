"""The forward KL divergence from weighted points of the flow: its value, its gradient, and its bias."""

import math

import pytest
import torch

from flowlab import Flow, StandardNormal, compose, train
from flowlab.bijectors import LowRankAffine
from flowlab.objectives import ForwardKL
from flowlab.targets import Banana, Gaussian
from flowlab.targets.base import Batch

TARGET = Gaussian(*(SETTINGS := ([0.3, -0.2], [[1.1, 0.0], [0.3, 0.9]])))


class Unnormalized(Gaussian):
    """The Gaussian with a density that is 50 nats too large."""

    def log_prob(self, x, context=None):
        return super().log_prob(x) + 50


def new_flow(wide=1.0):
    flow = Flow(StandardNormal(2), LowRankAffine(2, generator=torch.Generator().manual_seed(0))).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter *= wide
    return flow


def new_batch(flow, count, seed=0):
    return Batch(flow.rsample_base((count,), generator=torch.Generator().manual_seed(seed)))


def gradient(loss, flow):
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(flow.parameters()))])


def exact_gradient(flow, count=400_000):
    """Return the gradient of KL(p || q), from exact points of the target."""
    x = TARGET.sample(count, torch.Generator().manual_seed(1), torch.float64)
    return gradient(-flow.log_prob(x).mean(), flow)


def test_the_loss_nears_the_divergence():
    flow = new_flow()
    x = TARGET.sample(100_000, torch.Generator().manual_seed(1), torch.float64)
    expected = (TARGET.log_prob(x) - flow.log_prob(x)).mean().item()
    loss = ForwardKL()(flow, new_batch(flow, 200_000), TARGET).item()
    assert expected > 0.05
    assert loss == pytest.approx(expected, rel=0.05)


def test_the_gradient_nears_the_exact_one():
    flow = new_flow()
    expected = exact_gradient(flow)
    found = gradient(ForwardKL()(flow, new_batch(flow, 400_000), TARGET), flow)
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_the_bias_falls_as_one_over_the_number_of_points():
    """The mean gradient of many minibatches of 8 points is several times as far from the exact one as of 64."""
    flow = new_flow(wide=1.3)
    expected, parameters = exact_gradient(flow), dict(flow.named_parameters())
    x = new_batch(flow, 400_000).x

    def loss_of(parameters, x):
        return torch.func.functional_call(Loss(flow), {f"flow.{name}": each for name, each in parameters.items()}, (x,))

    distances = []
    for count in (8, 64):
        many = torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0))(parameters, x.view(-1, count, 2))
        mean = torch.cat([many[name].mean(0).flatten() for name in parameters])
        distances.append((mean - expected).norm().item())
    assert distances[0] > 2.5 * distances[1], distances


class Loss(torch.nn.Module):
    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x):
        return ForwardKL()(self.flow, Batch(x), TARGET)


def test_the_normalization_does_not_matter():
    flow, unnormalized = new_flow(), Unnormalized(*SETTINGS)
    batch = new_batch(flow, 100)
    ours, theirs = (ForwardKL()(flow, batch, target) for target in (unnormalized, TARGET))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient(ours, flow), gradient(theirs, flow), rtol=1e-9, atol=1e-9)


def test_the_loss_is_at_most_the_log_of_the_number_of_points():
    flow, target = new_flow(), Gaussian([0.0, 0.0], [[1e-4, 0.0], [0.0, 1e-4]])
    assert ForwardKL()(flow, new_batch(flow, 50), target).item() == pytest.approx(math.log(50), abs=1e-6)


def test_points_of_density_0_have_no_weight():
    class Half(Banana):
        def log_prob(self, x, context=None):
            return super().log_prob(x).masked_fill(x[..., 0] < 0, -math.inf)

    flow = new_flow()
    loss = ForwardKL()(flow, new_batch(flow, 100), Half())
    assert loss.isfinite()
    assert gradient(loss, flow).isfinite().all()


def test_it_fits_a_gaussian(tmp_path):
    words = ("target=gaussian_full", "objective=forward_kl", "max_steps=600", "flow.depth=1")
    small = ("trainer.progress=off", "test_size=500", "validation_size=500", "batch_size=512")
    run = train(compose(*small, *words), tmp_path / "run")
    assert run.result["kl"] < 0.01
    assert run.metrics["loss"].iloc[-1] == pytest.approx(0.0, abs=0.01), "the loss is a KL"
