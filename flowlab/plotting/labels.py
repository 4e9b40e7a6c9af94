"""Settings of a sweep in the words of a figure: `flow.rank`=2 is "rank 2"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas

MEASURES = {
    "kl": "KL(target || flow) in nats",
    "nll": "NLL of the test points in nats",
    "bits_per_dim": "NLL of the test points in bits per dimension",
    "seconds": "seconds of training",
}


def setting_name(name: str) -> str:
    """The last part of a dotted name; that of an option's name is the group.

    Example:
        >>> from flowlab.plotting.labels import setting_name
        >>> setting_name("flow.depth"), setting_name("target.name"), setting_name("optimizer.lr")
        ('depth', 'target', 'lr')
    """
    return name.removesuffix(".name").rpartition(".")[2].replace("_", " ")


def setting_text(value: Any) -> str:
    """A value as short as it can be said; of a path the file's name.

    Example:
        >>> from flowlab.plotting.labels import setting_text
        >>> [setting_text(value) for value in (2.0, 0.001, None, True, [1.0, 0.5], "banana", "/data/points.csv")]
        ['2', '0.001', 'null', 'true', '[1, 0.5]', 'banana', 'points.csv']
    """
    if isinstance(value, list):
        return f"[{', '.join(map(setting_text, value))}]"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e6 else f"{value:g}"
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting_labels(table: pandas.DataFrame, names: Sequence[str]) -> list[str]:
    """For each row of a sweep's table its settings in words; null is left out where there is something else to say.

    Example:
        >>> import pandas
        >>> from flowlab.plotting.labels import setting_labels
        >>> table = pandas.DataFrame({"target.name": ["banana", "gaussian"], "target.mean": [None, [1.0, 1.0]]})
        >>> setting_labels(table, ["target.name", "target.mean"])
        ['banana', 'gaussian, mean [1, 1]']
    """
    rows = zip(*(map(setting_text, table[name].tolist()) for name in names), strict=True)
    return [_in_words(dict(zip(names, row, strict=True))) for row in rows] if names else [""] * len(table)


def _in_words(texts: dict[str, str]) -> str:
    said = {name: text for name, text in texts.items() if text != "null"} or texts
    return ", ".join(text if name.endswith(".name") else f"{setting_name(name)} {text}" for name, text in said.items())
