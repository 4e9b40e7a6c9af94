"""Fingerprints: the numbers behind a figure in one printed line, since nbval compares text and not pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def fingerprint(name: str, data: ArrayLike, digits: int = 2) -> str:
    """Return an array's shape, minimum, mean and maximum, rounded; by coordinate for points of shape (n, dim).

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
