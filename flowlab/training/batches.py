"""The minibatch of a step as a function of (seed, step) alone: no state to save, nothing for evaluation to disturb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from flowlab.flow import Flow
from flowlab.seeding import generator
from flowlab.targets.base import ExactTarget, Target


def as_it_is(drawn: Tensor) -> Tensor:
    """For draws that are minibatches already."""
    return drawn


@dataclass(frozen=True)
class Stream:
    """Minibatches of shape (batch_size, dim) by step, in two halves.

    Attributes:
        draw: what is random in the minibatch of a step, of shape (batch_size, k).
        place: the minibatches, of shape (*, dim), that draws of shape (*, k) make: arithmetic alone, so that it can be
            compiled together with the loss, and equal for all streams of one target.
    """

    draw: Callable[[int], Tensor]
    place: Callable[[Tensor], Tensor] = as_it_is

    def __call__(self, step: int) -> Tensor:
        return self.place(self.draw(step))


def data_stream(target: Target, seed: int, batch_size: int, dtype: torch.dtype, device: torch.device | str) -> Stream:
    """Minibatches of a target: fresh points, or rows of the training data."""
    if isinstance(target, ExactTarget) and target.train_size is None:
        return Stream(
            lambda step: target.draw(batch_size, generator(seed, "train", step, device), dtype), target.from_draws
        )
    return epoch_stream(target.rows("train", 0, seed, dtype).to(device), seed, batch_size)


def epoch_stream(rows: Tensor, seed: int, batch_size: int) -> Stream:
    """Rows in a new random order each epoch, the orders laid end to end and cut into minibatches; none is dropped."""
    count = len(rows)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> Tensor:
        return torch.randperm(count, generator=generator(seed, "order", epoch)).to(rows.device)

    def batch(step: int) -> Tensor:
        first, end = step * batch_size, (step + 1) * batch_size
        epochs = range(first // count, (end - 1) // count + 1)
        picked = torch.cat([order(epoch) for epoch in epochs]) if len(epochs) > 1 else order(epochs[0])
        offset = first - epochs[0] * count
        return rows[picked[offset : offset + batch_size]]

    return Stream(batch)


def base_stream(flow: Flow, seed: int, batch_size: int, device: torch.device | str) -> Stream:
    """Minibatches of the flow's base, for objectives that need samples of the flow."""
    return Stream(lambda step: flow.base.rsample((batch_size,), generator(seed, "base", step, device)))
