"""The end of a message about a word that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

# What Lightning calls a setting that is not one here, and why there is none.
ELSEWHERE = {
    "accumulate_grad_batches": "batch_size is the batch of a whole step, and trainer.devices processes share it; "
}


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """The closest allowed word, and all that are allowed.

    Example:
        >>> from flowlab.config.words import did_you_mean
        >>> did_you_mean("dept", ["depth", "rank"])
        "did you mean 'depth'? allowed: depth, rank"
    """
    close = difflib.get_close_matches(word, allowed, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ELSEWHERE.get(word, "")
    return f"{meant}allowed: {', '.join(allowed)}"
