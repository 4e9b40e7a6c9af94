"""Errors for a user's mistake: each message names the key, its value, what is allowed and what to type instead."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

# Settings of Lightning that flowlab does not have, with the reason.
ELSEWHERE = {
    "accumulate_grad_batches": "batch_size is the batch of a whole step, shared by trainer.devices processes; "
}


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the key, its value and what is allowed."""


class DataError(ConfigError):
    """A data file that cannot be used, with the reason and the remedy."""


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """The closest allowed word, then all allowed words.

    Example:
        >>> from flowlab.config.errors import did_you_mean
        >>> did_you_mean("dept", ["depth", "rank"])
        "did you mean 'depth'? allowed: depth, rank"
    """
    close = difflib.get_close_matches(word, allowed, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ELSEWHERE.get(word, "")
    return f"{meant}allowed: {', '.join(allowed)}"
