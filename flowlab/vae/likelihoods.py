"""Likelihoods of a decoder: the distribution of an observation for the numbers that the decoder gives."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

LOG_TWO_PI = math.log(2 * math.pi)


class Likelihood(nn.Module):
    """log p(x | outputs) of independent coordinates. A subclass defines `log_prob`, and `observe` if it needs it."""

    def observe(self, x: Tensor, uniforms: Tensor) -> Tensor:
        """The observations of a training step, from data and uniform random numbers, all of shape (*, d)."""
        return x

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Log probabilities of observations of shape (*, d), in nats; of shape (*)."""
        raise NotImplementedError(f"{type(self).__name__} must define log_prob(x, outputs)")

    def mean(self, outputs: Tensor) -> Tensor:
        """The means of the observations, of shape (*, d)."""
        return outputs


class Bernoulli(Likelihood):
    """Pixels that are 0 or 1, with the outputs as logits.

    Grey levels in [0, 1] are probabilities: each training step draws the pixels anew (dynamic binarization). Pixels
    that are 0 or 1 already stay as they are (static binarization).

    Reference:
        | On the Quantitative Analysis of Deep Belief Networks (Ruslan Salakhutdinov, Iain Murray, 2008)
        | https://doi.org/10.1145/1390156.1390266
    """

    def observe(self, x: Tensor, uniforms: Tensor) -> Tensor:
        return (uniforms < x).to(x.dtype)

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        x, outputs = torch.broadcast_tensors(x, outputs)
        return -binary_cross_entropy_with_logits(outputs, x, reduction="none").sum(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()


class Gaussian(Likelihood):
    """Real numbers around the outputs, with one learned standard deviation.

    Arguments:
        scale: its initial value, in the units of x.

    Raises:
        ValueError: it is not positive and finite.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        if not 0 < scale < math.inf:
            raise ValueError(f"Gaussian: scale={scale!r} must be positive and finite")
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        z = (x - outputs) * (-self.log_scale).exp()
        return -0.5 * (z.square() + LOG_TWO_PI).sum(-1) - self.log_scale * x.shape[-1]
