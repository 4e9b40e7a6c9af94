"""Maximum likelihood and the reverse KL divergence: values, gradients, and the targets that they need."""

import pytest
import torch

from flowlab import ConfigError, Flow, StandardNormal, compose, train
from flowlab.bijectors import AffineScalar, Bijector, LowRankAffine, SmoothPReLU
from flowlab.objectives import MaximumLikelihood, ReverseKL
from flowlab.targets import Banana, Gaussian, Uniform
from flowlab.targets.base import Batch

SMALL = ("trainer.progress=off", "test_size=500", "validation_size=500", "batch_size=64")


class Shifted(Bijector):
    def forward_and_log_det(self, x, context=None):
        return x + context, torch.zeros_like(x)

    def inverse_and_log_det(self, y, context=None):
        return y - context, torch.zeros_like(y)


def test_maximum_likelihood_is_the_average_negative_log_likelihood():
    flow = Flow(StandardNormal(2), LowRankAffine(2) | SmoothPReLU(0.5)).double()
    x = Banana().rows("train", 100, 0, torch.float64)
    loss = MaximumLikelihood()(flow, Batch(x), Banana())
    expected = -flow.log_prob(x).mean()
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, list(flow.parameters())),
        torch.autograd.grad(expected, list(flow.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_points_are_scored_with_their_contexts():
    noise, context = torch.randn(50, 2), torch.randn(50, 2)
    loss = MaximumLikelihood()(Flow(StandardNormal(2), Shifted()), Batch(noise + context, context), Banana())
    torch.testing.assert_close(loss, -StandardNormal(2).log_prob(noise).mean(), rtol=1e-4, atol=1e-4)


def test_every_target_is_accepted_for_maximum_likelihood():
    for target in (Uniform(), Banana(train_size=10)):
        MaximumLikelihood().check(target)


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


def test_target_without_a_positive_density_everywhere_is_refused():
    with pytest.raises(ConfigError, match="objective=reverse_kl: .*target=uniform has density 0 .*use objective=maxim"):
        ReverseKL().check_training(Uniform(), None, 1)
    with pytest.raises(ConfigError, match="target.train_size: objective=reverse_kl trains on no data; leave it null"):
        ReverseKL().check(Banana(train_size=10))
    ReverseKL().check(Banana())


def test_reverse_kl_fits_a_gaussian(tmp_path):
    words = ("target=gaussian_full", "objective=reverse_kl", "max_steps=600", "flow.depth=1")
    run = train(compose(*SMALL, *words), tmp_path / "run")
    assert run.result["kl"] < 0.01
    assert run.metrics["loss"].iloc[-1] == pytest.approx(0.0, abs=0.01), "the loss is a KL"
