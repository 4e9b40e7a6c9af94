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
# Keys of `logger` when there was one logger, and not several by name.
LOGGER_KEYS = {"project", "mode", "run_name", "group", "tags", "figures_every"}
# The meaning of a key in configurations that are older than the key.
ABSENT: dict[str, Any] = {"trainer.compile": "false"}


def renamed_words(words: Sequence[str]) -> list[str]:
    """Overrides of a command line under their present names.

    Example:
        >>> from flowlab.config.aliases import renamed_words
        >>> renamed_words(["experiment=banana_document", "flow.start=glorot"])
        ['experiment=jang2018', 'flow.initialization=glorot']
    """
    logger = next((word.partition("=")[2] for word in words if word.startswith("logger=")), "csv")
    return [_renamed(word, logger) for word in words]


def _renamed(word: str, logger: str) -> str:
    bare = word.lstrip("+")
    signs, (key, equals, value) = word[: len(word) - len(bare)], bare.partition("=")
    group, _, name = key.partition(".")
    present = f"logger.{logger}.{name}" if group == "logger" and name in LOGGER_KEYS else KEYS.get(key, key)
    return signs + (OPTIONS.get(bare) or f"{present}{equals}{value}")


def renamed_keys(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration of any version under the present keys."""
    values = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    logger = values.get("logger")
    if isinstance(logger, dict) and isinstance(logger.get("name"), str):  # the only one
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
