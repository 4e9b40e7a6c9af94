"""Maximum likelihood: its value, its gradient, and contexts."""

import torch

from flowlab import Flow, StandardNormal
from flowlab.bijectors import Bijector, LowRankAffine, SmoothPReLU
from flowlab.objectives import MaximumLikelihood
from flowlab.targets import Banana
from flowlab.targets.base import Batch


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
