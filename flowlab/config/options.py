"""The options that suit a target, as words of a command line."""

from __future__ import annotations

from collections.abc import Sequence

from flowlab.config.errors import ConfigError
from flowlab.config.registry import lookup

CHOOSING = {"experiment", "sweep"}  # groups whose options choose those of others


def add_suitable_options(words: Sequence[str]) -> list[str]:
    """Add words for the options that suit the chosen target, in groups that no word chooses.

    Example:
        >>> from flowlab.config.options import add_suitable_options
        >>> add_suitable_options(["target=dataset", "optimizer=sgd"])
        ['target=dataset', 'optimizer=sgd', 'flow=tabular']
    """
    chosen = dict(word.lstrip("+").partition("=")[::2] for word in words)
    if "target" not in chosen or CHOOSING & set(chosen):
        return list(words)
    try:
        suitable = lookup("target", chosen["target"], "target").options
    except ConfigError:  # an unknown option, or several; its reader says so among all words
        return list(words)
    return [*words, *(f"{group}={option}" for group, option in suitable.items() if group not in chosen)]
