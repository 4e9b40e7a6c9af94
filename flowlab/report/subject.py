"""The flow and the rows that a report is about: real rows of each split, and rows that the flow generates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from flowlab.config.errors import ConfigError
from flowlab.flow import Flow
from flowlab.seeding import generator, pick
from flowlab.targets.base import SPLITS, Batch, Target

TEST_ROWS = 20_000  # real test rows that a report uses at most
TRAIN_ROWS = 200_000
GENERATED_ROWS = 50_000  # at least: tails of 0.1 % then hold 50
MOST_NUMBERS = 10_000_000  # in one table of rows; a table of many columns has fewer rows
CHUNK = 20_000  # rows that the flow maps at once


@dataclass(frozen=True)
class Subject:
    """The subject of a report: a flow, and the distribution that it has learned.

    Arguments:
        flow: a flow of vectors.
        target: the distribution that it has learned.
        columns: the names of the coordinates.
        seed: the seed of the drawn rows; the run's seed gives an exact target the run's own test rows.
        sample_seed: the seed of the rows that the flow generates.
    """

    flow: Flow
    target: Target
    columns: Sequence[str]
    seed: int = 0
    sample_seed: int = 0

    def rows(self, split: str, most: int) -> Batch:
        """At most `most` real rows of a split with their contexts, in random order; on the CPU in float64.

        Weighted rows are drawn by their weights, as many as count: (sum w)^2 / sum w^2.
        """
        batch = self.target.batch(split, self._most(most), self.seed, torch.float64)
        weights = self.target.row_weights(split)
        if weights is not None:
            count = max(2, int(weights.sum() ** 2 / (weights**2).sum()))
            drawn = pick(weights, count, generator(self.seed, f"report {split}"))
            drawn = drawn[torch.randperm(count, generator=generator(self.seed, f"report order {split}"))]
            batch = Batch(*(tensor[drawn] for tensor in batch.tensors()))
        return Batch(*(tensor[: self._most(most)].double().cpu() for tensor in batch.tensors()))

    @cached_property
    def train(self) -> Batch:
        return self.rows("train", TRAIN_ROWS)

    @cached_property
    def validation(self) -> Batch:
        return self.rows("validation", TEST_ROWS)

    @cached_property
    def test(self) -> Batch:
        return self.rows("test", TEST_ROWS)

    @cached_property
    def generated(self) -> Batch:
        """Rows of the flow, at least as many as test rows; the first have the contexts of the test rows, in order.

        Raises:
            ConfigError: a generated number is not finite.
        """
        count = len(self.test.x)
        repeats = max(1, -(-self._most(GENERATED_ROWS) // count))
        like = self.flow.anchor
        parts, contexts = [], None if self.test.context is None else self.test.context.repeat(repeats, 1)
        for number, begin in enumerate(range(0, count * repeats, CHUNK)):
            size = min(CHUNK, count * repeats - begin)
            given = None if contexts is None else contexts[begin : begin + size].to(like)
            draws = generator(self.sample_seed, "report", number, like.device)
            with torch.no_grad():
                drawn = self.flow.rsample((size,) if given is None else (), given, draws)
            parts.append(drawn.double().cpu())
        x = torch.cat(parts)
        if bad := int((~x.isfinite().all(1)).sum()):
            raise ConfigError(
                f"{bad} of {len(x)} generated rows are not finite, so there is nothing to compare; train the flow "
                "longer, or use a lower optimizer.lr"
            )
        return Batch(x, contexts)

    def log_prob(self, batch: Batch) -> np.ndarray:
        """The flow's log density of each row, in nats, of shape (n,) in float64.

        Raises:
            ConfigError: the flow has no inverse in closed form, so it has no density of given rows.
        """
        like, found = self.flow.anchor, []
        try:
            with torch.no_grad():
                for parts in zip(*(tensor.split(CHUNK) for tensor in batch.tensors()), strict=True):
                    found.append(self.flow.log_prob(*(part.to(like) for part in parts)).double().cpu())
        except NotImplementedError as error:  # NoInverseError
            raise ConfigError(f"the flow has no density of given rows, which a report needs: {error}") from None
        return torch.cat(found).numpy()

    def numbers(self, points: Tensor) -> np.ndarray:
        """Points of shape (n, d) as the numbers of the user's table, of shape (n, columns)."""
        schema = self.target.schema
        return points.numpy() if schema is None else schema.numbers(points)

    @property
    def context_size(self) -> int:
        """The number of values that the flow is given; 0 for an unconditional flow."""
        return 0 if self.test.context is None else self.test.context.shape[1]

    def sizes(self) -> dict[str, int | None]:
        """The number of rows of each split; None for a target that draws fresh ones."""
        return {split: _size(self.target, split) for split in SPLITS}

    def _most(self, most: int) -> int:
        return min(most, max(1000, MOST_NUMBERS // len(self.columns)))


def _size(target: Target, split: str) -> int | None:
    return None if target.row_numbers is None else len(target.row_numbers[split])
