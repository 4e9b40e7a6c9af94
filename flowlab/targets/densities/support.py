"""The support of a vector in words, as a constraint of torch, and as a flow's fixed last bijector."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from flowlab.config.errors import ConfigError

if TYPE_CHECKING:
    from torch.distributions.constraints import Constraint

    from flowlab.bijectors import Bijector

ALLOWED = "real, positive, bounded:LOW:HIGH, where an end may be inf, and simplex:K for K coordinates"


@dataclass(frozen=True)
class Support:
    """Where the coordinates of a vector lie.

    Attributes:
        words: for each coordinate real, positive or bounded:LOW:HIGH; simplex:K stands for K coordinates, positive
            numbers whose sum is 1.

    Raises:
        ConfigError: a word is not allowed.

    Example:
        >>> from flowlab.targets.densities.support import Support
        >>> support = Support(("real", "positive", "simplex:3"))
        >>> support.dim, support.free
        (5, 4)
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        for word in self.words:
            _size(word)
            _ends(word)

    @classmethod
    def of(cls, given: Constraint | str | Sequence[Any] | None, dim: int) -> Support:
        """The support of vectors of `dim` coordinates.

        Arguments:
            given: words, or constraints of `torch.distributions`: intervals, half-lines, the simplex, and `cat` or
                `stack` of them; one for each coordinate, or one for all. None: all numbers.

        Raises:
            ConfigError: a word or a constraint is not allowed, or they are not for `dim` coordinates.
        """
        words = tuple(_words(given if given is not None else "real", dim))
        if len(words) == 1 and not words[0].startswith("simplex"):
            words *= dim
        support = cls(words)
        if support.dim != dim:
            raise ConfigError(
                f"support={list(words)}: is for {support.dim} coordinates, but a point has {dim}; give one word for "
                f"each, or one for all; allowed: {ALLOWED}"
            )
        return support

    @classmethod
    def onto(cls, given: Constraint | str | Sequence[Any] | None, free: int) -> Support:
        """The support onto which vectors of `free` coordinates are mapped; arguments and errors as in `of`.

        Example:
            >>> from torch.distributions import constraints
            >>> from flowlab.targets.densities.support import Support
            >>> Support.onto(constraints.simplex, 2).words
            ('simplex:3',)
        """
        wrong: ConfigError | None = None
        for dim in range(free, 2 * free + 1):  # each simplex has one coordinate more
            try:
                support = cls.of(given, dim)
            except ConfigError as error:
                wrong = wrong or error
                continue
            if support.free == free:
                return support
        raise wrong or ConfigError(f"support={given!r}: is for no flow of {free} coordinates; allowed: {ALLOWED}")

    @classmethod
    def count(cls, given: Constraint | str | Sequence[Any] | None) -> int | None:
        """The number of coordinates that a support names; None if it is for any number.

        Example:
            >>> from flowlab.targets.densities.support import Support
            >>> Support.count(["real", "positive"]), Support.count("simplex:3"), Support.count("positive")
            (2, 3, None)

        Raises:
            ConfigError: a word or a constraint is not allowed.
        """
        words = tuple(_words("real" if given is None else given, 0))
        for_any = len(words) == 1 and (words[0] == "simplex:0" or not words[0].startswith("simplex"))
        return None if for_any else cls(words).dim

    def is_equal(self, constraint: Constraint) -> bool:
        """Whether a constraint on vectors describes this support, up to rounding to single precision."""
        try:
            other = Support.of(constraint, self.dim)
        except ConfigError:
            return False
        mine, others = ([(_size(word), *_ends(word)) for word in each.words] for each in (self, other))
        limits = np.finfo(np.float32)  # a map in single precision ends at its largest number, or next to 0
        mine, others = (np.clip(each, -limits.max, limits.max) for each in (mine, others))  # type: ignore[assignment]
        return len(mine) == len(others) and bool(np.allclose(mine, others, rtol=1e-6, atol=limits.tiny))

    @property
    def dim(self) -> int:
        """The number of coordinates."""
        return sum(map(_size, self.words))

    @property
    def free(self) -> int:
        """The number of free coordinates: a simplex has one less than it has coordinates."""
        return sum(_size(word) - word.startswith("simplex") for word in self.words)

    @property
    def is_unbounded(self) -> bool:
        """Whether all vectors lie in the support."""
        return all(_ends(word) == (-math.inf, math.inf) for word in self.words)

    @property
    def constraint(self) -> Constraint:
        """The support as a constraint of torch on vectors."""
        from torch.distributions import constraints

        from flowlab.torch_distributions import event_constraint

        bijector = self.bijector()
        return constraints.real_vector if bijector is None else event_constraint(bijector.codomain, 1)

    def bijector(self) -> Bijector | None:
        """The fixed map from all vectors of `free` coordinates onto the support; None if that is the identity."""
        import torch

        from flowlab.bijectors import Blocks, SoftmaxCentered
        from flowlab.tables.domains import Domains

        if self.is_unbounded:
            return None
        parts: list[Bijector] = []
        sizes: list[int] = []
        for is_simplex, group in groupby(self.words, lambda word: word.startswith("simplex")):
            words = list(group)
            if is_simplex:
                parts += [SoftmaxCentered() for _ in words]
                sizes += [_size(word) - 1 for word in words]
            else:
                low, high = zip(*map(_ends, words), strict=True)
                parts.append(Domains(*(torch.tensor(ends, dtype=torch.float64) for ends in (low, high))))
                sizes.append(len(words))
        return parts[0] if len(parts) == 1 else Blocks(parts, sizes)


def _words(given: Any, dim: int) -> Iterator[str]:
    """The words of a word, a constraint, or a sequence of them."""
    if isinstance(given, str):
        yield given
    elif isinstance(given, Sequence):
        for part in given:
            yield from _words(part, dim if len(given) == 1 else 1)
    else:
        yield from _words_of_constraint(given, dim)


def _words_of_constraint(given: Any, dim: int) -> Iterator[str]:
    import torch
    from torch.distributions import constraints

    from flowlab.bijectors.blocks import blocks
    from flowlab.torch_distributions import innermost, is_unbounded, loose_simplex

    constraint = innermost(given) if isinstance(given, constraints.Constraint) else given
    ends = [getattr(constraint, name, None) for name in ("lower_bound", "upper_bound")]
    if isinstance(constraint, constraints.cat | blocks):
        parts = constraint.parts if isinstance(constraint, blocks) else constraint.cseq
        for part, length in zip(parts, constraint.lengths, strict=True):
            words = list(_words(part, length))
            yield from words * length if len(words) == 1 and not words[0].startswith("simplex") else words
    elif isinstance(constraint, constraints.stack):
        for part in constraint.cseq:
            yield from _words(part, 1)
    elif isinstance(constraint, type(constraints.simplex) | loose_simplex):
        yield f"simplex:{dim}"
    elif isinstance(constraint, constraints.Constraint) and is_unbounded(constraint):
        yield "real"
    elif isinstance(constraint, constraints.Constraint) and ends != [None, None] and not constraint.is_discrete:
        low, high = (
            torch.as_tensor(default if end is None else end, dtype=torch.float64)
            for end, default in zip(ends, (-math.inf, math.inf), strict=True)
        )
        for a, b in zip(*(each.flatten().tolist() for each in torch.broadcast_tensors(low, high)), strict=True):
            yield "positive" if (a, b) == (0.0, math.inf) else f"bounded:{a!r}:{b!r}"
    else:
        raise ConfigError(
            f"support={given!r}: is no support that a flow can be mapped onto; allowed: {ALLOWED}; or the "
            "constraints of torch for them, one for each coordinate"
        )


def _size(word: str) -> int:
    """The number of coordinates that a word stands for."""
    kind, _, size = word.partition(":")
    if kind != "simplex":
        return 1
    if not size.isdecimal() or int(size) < 2:
        raise ConfigError(f"support={word}: must be simplex:K with the number K of coordinates, at least 2")
    return int(size)


def _ends(word: str) -> tuple[float, float]:
    """The ends of the interval of a coordinate."""
    kind, *numbers = word.split(":")
    known = {"real": (-math.inf, math.inf), "positive": (0.0, math.inf), "simplex": (0.0, 1.0)}
    if kind in known and (kind == "simplex" or not numbers):
        return known[kind]
    try:
        low, high = (float(number) for number in numbers if kind == "bounded")
    except ValueError:
        raise ConfigError(f"support={word}: no such support; allowed: {ALLOWED}") from None
    if not low < high:
        raise ConfigError(f"support={word}: LOW must be below HIGH")
    return low, high
