"""Kinds of columns from the words of a user, and from plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flowlab.config.errors import ConfigError, did_you_mean
from flowlab.tables import discrete, intervals  # noqa: F401  # they register their kinds
from flowlab.tables.kinds import KINDS, Kind


def parse_kind(words: str, where: str) -> Kind:
    """The kind that a user writes as NAME or NAME:ARGUMENT:...; `where` is the text before messages.

    Example:
        >>> from flowlab.tables.parse import parse_kind
        >>> parse_kind("circular:0:24", "target.kinds").words
        'circular:0:24'

    Raises:
        ConfigError: there is no such kind, or its arguments do not fit.
    """
    name, *arguments = (part.strip() for part in str(words).split(":"))
    if name not in KINDS:
        raise ConfigError(f"{where}: no such kind: {name!r}; {did_you_mean(name, list(KINDS))}")
    try:
        return KINDS[name].parse(arguments)
    except ValueError as error:
        usage = f"{name}:{KINDS[name].arguments}" if KINDS[name].arguments else name
        said = "" if "could not" in str(error) or "unpack" in str(error) else f"{error}; "
        raise ConfigError(f"{where}: {words}: {said}write {usage}") from None


def split_kinds(given: Sequence[str]) -> dict[str, str]:
    """The kind of each column, from texts COLUMN:KIND; a name may hold colons itself.

    Example:
        >>> from flowlab.tables.parse import split_kinds
        >>> split_kinds(["age:positive", "hour:circular:0:24"])
        {'age': 'positive', 'hour': 'circular:0:24'}

    Raises:
        ConfigError: a text holds no kind, or a column is named twice.
    """
    kinds: dict[str, str] = {}
    for text in given:
        parts = text.split(":")
        place = next((place for place, part in enumerate(parts) if place and part.strip() in KINDS), 1)
        name, words = ":".join(parts[:place]).strip(), ":".join(parts[place:])
        if not name or not words:
            raise ConfigError(f"target.kinds: {text!r}: must be COLUMN:KIND, as in target.kinds=[age:positive]")
        if name in kinds:
            raise ConfigError(f"target.kinds: names column {name!r} twice; give it one kind")
        kinds[name] = words
    return kinds


def kind_from_dict(data: Any) -> Kind:
    """The kind of plain data from `Kind.to_dict`; a ValueError if they are damaged."""
    fields = dict(data)
    kind = KINDS.get(fields.pop("kind", None))
    if kind is None:
        raise ValueError(f"{data!r} is not a kind of column")
    known = kind.__dataclass_fields__
    if set(fields) - set(known):
        raise ValueError(f"{kind.name} has no {', '.join(sorted(set(fields) - set(known)))}")
    infinite = {"low": -math.inf, "high": math.inf}
    given = {key: infinite.get(key) if value is None else value for key, value in fields.items()}
    for key, value in given.items():
        if isinstance(known[key].default, tuple):
            if not isinstance(value, list | tuple) or not all(isinstance(each, str | int | float) for each in value):
                raise ValueError(f"{kind.name}: {key}={value!r}")
            given[key] = tuple(value)
        elif value is not None and (not isinstance(value, int | float) or math.isnan(value)):
            raise ValueError(f"{kind.name}: {key}={value!r}")
    made = kind(**given)
    if made.coordinate and not made.domain[0] < made.domain[1]:
        raise ValueError(f"{made.words}: has no values")
    return made
