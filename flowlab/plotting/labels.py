"""The words for a sweep's settings in figures: `flow.rank`=2 becomes "rank 2"."""

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
    """Return the last part of a dotted name, and the group for the name of an option.

    Example:
        >>> from flowlab.plotting.labels import setting_name
        >>> setting_name("flow.depth"), setting_name("target.name"), setting_name("optimizer.lr")
        ('depth', 'target', 'lr')
    """
    return name.removesuffix(".name").rpartition(".")[2].replace("_", " ")


def setting_text(value: Any) -> str:
    """Return a short text for a value; a path becomes its file name.

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
    """Return the settings of each row of a sweep's table in words; leave out null unless all are null.

    Example:
        >>> import pandas
        >>> from flowlab.plotting.labels import setting_labels
        >>> table = pandas.DataFrame({"target.name": ["banana", "gaussian"], "target.mean": [None, [1.0, 1.0]]})
        >>> setting_labels(table, ["target.name", "target.mean"])
        ['banana', 'gaussian, mean [1, 1]']
    """
    rows = zip(*(map(setting_text, table[name].tolist()) for name in names), strict=True)
    return [_join_settings(dict(zip(names, row, strict=True))) for row in rows] if names else [""] * len(table)


def _join_settings(texts: dict[str, str]) -> str:
    shown = {name: text for name, text in texts.items() if text != "null"} or texts
    return ", ".join(text if name.endswith(".name") else f"{setting_name(name)} {text}" for name, text in shown.items())
