"""The minibatch of a step as a function of (seed, step) alone: no state to save, nothing for evaluation to disturb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from flowlab.flow import Flow
from flowlab.objectives.base import Objective
from flowlab.seeding import generator
from flowlab.targets.base import Batch, ExactTarget, Target


def as_drawn(drawn: Batch) -> Batch:
    """For draws that are minibatches already."""
    return drawn


@dataclass(frozen=True)
class Batches:
    """Minibatches by step, in two halves.

    Attributes:
        draw: gives the random numbers behind the minibatch of a step.
        place: makes minibatches of draws, also of draws with more leading dimensions: arithmetic alone, so it can be
            compiled together with the loss; equal for all runs on one target.
    """

    draw: Callable[[int], Batch]
    place: Callable[[Batch], Batch] = as_drawn

    def __call__(self, step: int) -> Batch:
        return self.place(self.draw(step))


def build_batches(
    objective: Objective,
    flow: Flow,
    target: Target,
    seed: int,
    batch_size: int,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Batches:
    """The minibatches that an objective needs: fresh points, rows of the training data, or points of the base."""
    if not objective.needs_points:
        return Batches(lambda step: Batch(flow.base.rsample((batch_size,), generator(seed, "base", step, device))))
    if isinstance(target, ExactTarget) and target.train_size is None:
        exact = target
        return Batches(
            lambda step: exact.draw_batch(batch_size, generator(seed, "train", step, device), dtype),
            exact.batch_from_draws,
        )
    return epoch_batches(target.batch("train", 0, seed, dtype).to(device), seed, batch_size)


def epoch_batches(rows: Batch, seed: int, batch_size: int) -> Batches:
    """Rows in a new random order each epoch; the orders, laid end to end, are cut into minibatches."""
    count = len(rows.x)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> torch.Tensor:
        return torch.randperm(count, generator=generator(seed, "order", epoch)).to(rows.x.device)

    def draw(step: int) -> Batch:
        first, end = step * batch_size, (step + 1) * batch_size
        epochs = range(first // count, (end - 1) // count + 1)
        picked = torch.cat([order(epoch) for epoch in epochs]) if len(epochs) > 1 else order(epochs[0])
        offset = first - epochs[0] * count
        return Batch(*(tensor[picked[offset : offset + batch_size]] for tensor in rows.tensors()))

    return Batches(draw)
