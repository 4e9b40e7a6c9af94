"""Tail coverage: how many samples of the target lie where the flow puts little of its mass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from flowlab.diagnostics.pareto import Array

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = (0.1, 0.01, 0.001)  # the flow's mass beyond a level set
MARGINAL_LEVELS = (0.01, 0.001)  # the flow's mass on each side of a coordinate
FALSE_ALARM = 0.001  # chance that a perfect flow has a tail that counts as wrong
LEAST_RATIO = 1.5  # between the observed and the nominal fraction; smaller differences are harmless


@dataclass(frozen=True)
class Tail:
    """Mass in one tail of the flow.

    Attributes:
        place: names the tail.
        nominal: the fraction of the flow's mass in this tail.
        observed: the fraction of the target's samples in it.
        p_value: how likely such a difference is for a perfect flow.
        is_wrong: the difference is significant among all tails together, and at least by the factor LEAST_RATIO.
    """

    place: str
    nominal: float
    observed: float
    p_value: float
    is_wrong: bool


def level_tails(draws: Array, samples: Array, tests: int = len(LEVELS)) -> tuple[Tail, ...]:
    r"""The samples of the target outside of level sets of the flow's density.

    A level set {log q > c} of mass 1 - a holds a fraction 1 - a of the target's samples if the flow is right. The k-th
    lowest of m log densities of draws is the level of mass k / (m + 1). The number of n samples below it then has a
    beta-binomial distribution, exactly.

    The average log density hardly notices a tail. If 1 % of the samples lie where the flow puts 0.1 %, then the KL
    divergence is at least 0.014 nats.

    Arguments:
        draws: log q of draws of the flow, of shape (m,), in nats.
        samples: log q of independent samples of the target, of shape (n,), in nats.
        tests: how many tails are tested together, for the significance.

    Example:
        >>> import numpy as np
        >>> from flowlab.diagnostics.tails import level_tails
        >>> normal, wide = np.random.default_rng(0).normal(size=(2, 10_000)) * [[1.0], [1.3]]
        >>> [tail.is_wrong for tail in level_tails(-(normal**2), -(wide**2))]
        [True, True, True]
    """
    ranks = _rank(np.concatenate([draws, samples]))
    ordered, ranked = np.sort(ranks[: len(draws)]), ranks[len(draws) :]
    tails = []
    for level in LEVELS:
        lowest = max(1, round(level * (len(draws) + 1)))
        count = int((ranked < ordered[lowest - 1]).sum())
        place = f"outside the {100 * (1 - level):g} % level set"
        tails.append(_test(place, count, len(samples), lowest, len(draws), tests))
    return tuple(tails)


@dataclass
class MarginalTails:
    """The tails of each coordinate. Only the extreme draws are kept, so the memory does not grow with their number.

    Arguments:
        draws: how many draws of the flow will be added.
    """

    draws: int
    _low: Tensor | None = field(default=None, init=False)
    _high: Tensor | None = field(default=None, init=False)
    _counts: Tensor | None = field(default=None, init=False)
    _samples: int = field(default=0, init=False)

    def add_draws(self, y: Tensor) -> None:
        """Keep the extremes of draws of shape (n, d)."""
        kept = max(self.places)
        self._low = -_highest(None if self._low is None else -self._low, -y, kept)
        self._high = _highest(self._high, y, kept)

    def add_samples(self, y: Tensor) -> None:
        """Count samples of the target, of shape (n, d), beyond the extremes; all draws are known by then."""
        import torch

        assert self._low is not None
        assert self._high is not None
        places = [place - 1 for place in self.places]
        below = torch.stack([(y < self._low[place]).sum(0) for place in places])
        above = torch.stack([(y > self._high[place]).sum(0) for place in places])
        counts = torch.stack([below, above])
        self._counts = counts if self._counts is None else self._counts + counts
        self._samples += len(y)

    @property
    def places(self) -> tuple[int, ...]:
        """The order statistics of the draws at which the tails begin."""
        return tuple(max(1, round(level * (self.draws + 1))) for level in MARGINAL_LEVELS)

    @property
    def columns(self) -> int:
        """The number of coordinates."""
        return 0 if self._counts is None else self._counts.shape[-1]

    @property
    def tests(self) -> int:
        """The number of tails."""
        return 0 if self._counts is None else self._counts.numel()

    def worst(self, names: list[str], tests: int) -> Tail:
        """The most significant tail; names: of the coordinates; tests: as in `level_tails`."""
        assert self._counts is not None
        counts = self._counts.cpu().double().numpy()
        lowest = np.array(self.places, dtype=float)[None, :, None]
        nominal = lowest / (self.draws + 1)
        deviation = np.sqrt(nominal * self._samples * (1 + self._samples / self.draws))
        side, place, column = np.unravel_index(
            np.abs((counts - nominal * self._samples) / deviation).argmax(), counts.shape
        )
        level = 100 * MARGINAL_LEVELS[place]
        where = f"{('below', 'above')[side]} the {level if side == 0 else 100 - level:g} % quantile of {names[column]}"
        count = int(counts[side, place, column])
        return _test(where, count, self._samples, self.places[place], self.draws, tests)


def _highest(kept: Tensor | None, y: Tensor, count: int) -> Tensor:
    import torch

    every = y if kept is None else torch.cat([kept, y])
    return every.topk(min(count, len(every)), dim=0).values


def _rank(values: Array) -> Array:
    """Ranks of shape (n,), ties in random order: a flow on a uniform base has many."""
    random = np.random.default_rng(0).random(len(values))
    ranks = np.empty(len(values))
    ranks[np.lexsort((random, values))] = np.arange(len(values))
    return ranks


def _test(place: str, count: int, samples: int, lowest: int, draws: int, tests: int) -> Tail:
    from scipy.stats import betabinom

    null = betabinom(samples, lowest, draws + 1 - lowest)
    p_value = float(np.clip(2 * min(null.cdf(count), null.sf(count - 1)), 0.0, 1.0))  # sums of many terms round
    nominal, observed = lowest / (draws + 1), count / samples
    differs = not nominal / LEAST_RATIO < observed < nominal * LEAST_RATIO
    return Tail(place, nominal, observed, p_value, differs and p_value < FALSE_ALARM / tests)
