"""The words and numbers beside figures: `flow.rank`=2 becomes "rank 2"; fingerprints; fitted power laws."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from numpy.typing import ArrayLike

MEASURES = {
    "kl": "KL(target || flow) in nats",
    "elbo": "ELBO in nats",
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


def setting_texts(values: Iterable[Any]) -> list[str]:
    """Return a text for each value of one setting: the shortest texts that differ where the values do.

    Example:
        >>> from flowlab.plotting.labels import setting_texts
        >>> setting_texts(["/data/a/points.csv", "/data/b/points.csv", "/data/moons.csv", 0.1234567, 0.1234568])
        ['a/points.csv', 'b/points.csv', 'moons.csv', '0.1234567', '0.1234568']
    """
    values = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    same: dict[str, dict[str, Any]] = defaultdict(dict)
    for value in values:
        same[setting_text(value)][repr(value)] = value
    texts: dict[str, str] = {}
    for alike in same.values():
        for longer in zip(*map(_longer_texts, alike.values()), strict=False):
            texts |= zip(alike, longer, strict=True)
            if len(set(longer)) == len(alike):
                break
    return [texts[repr(value)] for value in values]


def _longer_texts(value: Any) -> Iterator[str]:
    """Texts for a value, each longer than the one before; the last is followed by itself without end."""
    yield setting_text(value)
    parts = Path(value).parts if isinstance(value, str) and Path(value).is_absolute() else ()
    yield from ("/".join(parts[-count:]) for count in range(2, len(parts)))
    yield from itertools.repeat(value if parts else repr(value))


def setting_labels(table: pandas.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the settings of each row of a sweep's table in words; leave out null unless all are null.

    Example:
        >>> import pandas
        >>> from flowlab.plotting.labels import setting_labels
        >>> table = pandas.DataFrame({"target.name": ["banana", "gaussian"], "target.mean": [None, [1.0, 1.0]]})
        >>> setting_labels(table, ["target.name", "target.mean"])
        ['banana', 'gaussian, mean [1, 1]']
    """
    rows = zip(*(setting_texts(table[name].tolist()) for name in names), strict=True)
    return [_join_settings(dict(zip(names, row, strict=True))) for row in rows] if names else [""] * len(table)


def _join_settings(texts: dict[str, str]) -> str:
    shown = {name: text for name, text in texts.items() if text != "null"} or texts
    return ", ".join(text if name.endswith(".name") else f"{setting_name(name)} {text}" for name, text in shown.items())


def fingerprint(name: str, data: ArrayLike, digits: int = 2) -> str:
    """Return the numbers behind a figure as text, which nbval compares: shape, minimum, mean and maximum, rounded.

    Points of shape (n, dim), with dim at most 8, give them by coordinate.

    Example:
        >>> from flowlab.plotting import fingerprint
        >>> print(fingerprint("grid", [[0.0, 1.0], [2.0, 4.0]]))
        fingerprint grid: shape (2, 2), min [0.0, 1.0], mean [1.0, 2.5], max [2.0, 4.0]
    """
    array = np.asarray(data, dtype=float)
    points = array if array.ndim > 1 and array.shape[-1] <= 8 else array.reshape(-1, 1)
    points = points.reshape(-1, points.shape[-1])
    numbers = []
    for statistic in (np.min, np.mean, np.max):
        values = [round(float(value), digits) + 0.0 for value in statistic(points, axis=0)]
        numbers.append(f"{statistic.__name__} {values[0] if len(values) == 1 else values}")
    return f"fingerprint {name}: shape {array.shape}, {', '.join(numbers)}"


def fitted_exponent(dims: ArrayLike, seconds: ArrayLike) -> float:
    """Return p of seconds = c d^p: the slope of the least-squares line through (log d, log seconds).

    Arguments:
        dims, seconds: positive, of shape (n,), n >= 2.

    Example:
        >>> from flowlab.plotting import fitted_exponent
        >>> round(fitted_exponent([1, 2, 4], [3.0, 12.0, 48.0]), 6)
        2.0
    """
    return float(np.polyfit(np.log(np.asarray(dims)), np.log(np.asarray(seconds)), 1)[0])
