"""Suggestions for an unknown word in a message."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

# Settings of Lightning that flowlab does not have, with the reason.
ELSEWHERE = {
    "accumulate_grad_batches": "batch_size is the batch of a whole step, shared by trainer.devices processes; "
}


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """The closest allowed word, then all allowed words.

    Example:
        >>> from flowlab.config.words import did_you_mean
        >>> did_you_mean("dept", ["depth", "rank"])
        "did you mean 'depth'? allowed: depth, rank"
    """
    close = difflib.get_close_matches(word, allowed, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ELSEWHERE.get(word, "")
    return f"{meant}allowed: {', '.join(allowed)}"
