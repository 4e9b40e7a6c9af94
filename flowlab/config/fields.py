"""Typed and ranged settings: the fields of a component's dataclass."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

REQUIRED: Any = dataclasses.MISSING


def setting(
    default: Any = REQUIRED,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float = math.inf,
    choices: tuple[str, ...] = (),
    may_be_empty: bool = False,
    per_job: bool = False,
    kw_only: bool = False,
) -> Any:
    """A field of a dataclass, with the values that are allowed.

    Arguments:
        default: the default value; the YAML under `conf/` states it too.
        minimum, maximum: the smallest and the largest number allowed.
        above, below: a number must lie strictly between them.
        choices: the words that are allowed.
        may_be_empty: an empty list is allowed.
        per_job: the setting changes neither a shape nor the operations of a training step, so jobs that differ in it
            can be trained as one stack. A flow keeps it in a parameter or buffer, an optimizer gives it by `rates`; an
            objective has none.
        kw_only: the constructor takes it by keyword only.

    Example:
        >>> from dataclasses import dataclass
        >>> from flowlab.config.fields import setting
        >>> @dataclass
        ... class Ring:
        ...     radius: float = setting(1.0, above=0)
        >>> Ring().radius
        1.0
    """
    limits = {"minimum": minimum, "maximum": maximum, "above": above, "choices": choices}
    metadata: dict[str, Any] = {name: limit for name, limit in limits.items() if limit not in (None, ())}
    if above is not None:
        metadata["below"] = below
    metadata |= {"may_be_empty": may_be_empty, "per_job": per_job}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata, kw_only=kw_only)
    return dataclasses.field(default=default, metadata=metadata, kw_only=kw_only)
