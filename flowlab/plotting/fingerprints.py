"""The numbers behind a figure in one printed line, since nbval compares text and not pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def fingerprint(name: str, data: ArrayLike, digits: int = 2) -> str:
    """Shape, smallest, mean and largest of an array, rounded; for points of shape (n, dim) of each coordinate.

    Example:
        >>> from flowlab.plotting import fingerprint
        >>> print(fingerprint("grid", [[0.0, 1.0], [2.0, 4.0]]))
        fingerprint grid: shape (2, 2), min [0.0, 1.0], mean [1.0, 2.5], max [2.0, 4.0]
    """
    array = np.asarray(data, dtype=float)
    points = array if array.ndim > 1 and array.shape[-1] <= 8 else array.reshape(-1, 1)
    points = points.reshape(-1, points.shape[-1])
    numbers = []
    for what in (np.min, np.mean, np.max):
        values = [round(float(value), digits) + 0.0 for value in what(points, axis=0)]
        numbers.append(f"{what.__name__} {values[0] if len(values) == 1 else values}")
    return f"fingerprint {name}: shape {array.shape}, {', '.join(numbers)}"
