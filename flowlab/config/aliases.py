"""Old names of options and keys, so runs, sweeps and commands of earlier versions still work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# The present option for each old one, and the present key for each old one.
OPTIONS = {"experiment=banana_document": "experiment=jang2018", "sweep=document": "sweep=jang2018"}
KEYS = {
    "flow.start": "flow.initialization",
    "flow.slope_start": "flow.initial_slope",
    "trainer.started_by": "trainer.launcher",
}
# The keys of `logger` when a run had one logger.
LOGGER_KEYS = {"project", "mode", "run_name", "group", "tags", "figures_every"}
# The meaning of a key in configurations that are older than the key.
ABSENT: dict[str, Any] = {"trainer.compile": "false"}


def rename_words(words: Sequence[str]) -> list[str]:
    """Replace old names in the overrides of a command line.

    Example:
        >>> from flowlab.config.aliases import rename_words
        >>> rename_words(["experiment=banana_document", "flow.start=glorot"])
        ['experiment=jang2018', 'flow.initialization=glorot']
    """
    logger = next((word.partition("=")[2] for word in words if word.startswith("logger=")), "csv")
    return [_rename(word, logger) for word in words]


def _rename(word: str, logger: str) -> str:
    bare = word.lstrip("+")
    signs, (key, equals, value) = word[: len(word) - len(bare)], bare.partition("=")
    group, _, name = key.partition(".")
    present = f"logger.{logger}.{name}" if group == "logger" and name in LOGGER_KEYS else KEYS.get(key, key)
    return signs + (OPTIONS.get(bare) or f"{present}{equals}{value}")


def rename_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Replace old keys in a configuration of any version."""
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
