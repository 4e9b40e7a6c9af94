"""Names that earlier versions gave to options and keys, so that their runs, sweeps and commands still work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Options by their old choice, and keys by their old dotted name.
OPTIONS = {"experiment=banana_document": "experiment=jang2018", "sweep=document": "sweep=jang2018"}
KEYS = {
    "flow.start": "flow.initialization",
    "flow.slope_start": "flow.initial_slope",
    "trainer.started_by": "trainer.launcher",
}
# What a key meant where it was not there yet.
ABSENT: dict[str, Any] = {"trainer.compile": "false"}


def renamed_words(words: Sequence[str]) -> list[str]:
    """Overrides of a command line under their present names.

    Example:
        >>> from flowlab.config.aliases import renamed_words
        >>> renamed_words(["experiment=banana_document", "flow.start=glorot"])
        ['experiment=jang2018', 'flow.initialization=glorot']
    """
    return [_renamed(word) for word in words]


def _renamed(word: str) -> str:
    bare = word.lstrip("+")
    signs, (key, equals, value) = word[: len(word) - len(bare)], bare.partition("=")
    return signs + (OPTIONS.get(bare) or f"{KEYS.get(key, key)}{equals}{value}")


def renamed_keys(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration of any version with the present keys."""
    values = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    logger = values.get("logger")
    if isinstance(logger, dict) and isinstance(logger.get("name"), str):  # there was one logger, and not several
        values["logger"] = {logger["name"]: logger}
    for old, new in KEYS.items():
        group, _, key = old.partition(".")
        if isinstance(values.get(group), dict) and key in values[group]:
            values[group][new.partition(".")[2]] = values[group].pop(key)
    for name, meaning in ABSENT.items():
        group, _, key = name.partition(".")
        if isinstance(values.get(group), dict):
            values[group].setdefault(key, meaning)
    return values
