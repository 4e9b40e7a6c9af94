"""How strongly columns depend on each other, linearly or not; and the columns that depend most."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

BINS = 10
MOST_ROWS = 5000


def mutual_information(rows: np.ndarray) -> np.ndarray:
    """The mutual information in nats of each pair of columns, by tenths of their ranks, of shape (d, d).

    It does not depend on units, and sees dependence that a correlation does not. With few rows it is too large, equally
    for all pairs.

    Example:
        >>> import numpy as np
        >>> from flowlab.report.dependence import mutual_information
        >>> x = np.random.default_rng(0).normal(size=(5000, 2))
        >>> rows = np.stack([x[:, 0], x[:, 0] ** 2, x[:, 1]], axis=1)
        >>> mutual_information(rows).round(1)
        array([[2.3, 1.5, 0. ],
               [1.5, 2.3, 0. ],
               [0. , 0. , 2.3]])
    """
    rows = rows[:MOST_ROWS]
    count, dim = rows.shape
    tenths = np.minimum((rankdata(rows, axis=0) - 0.5) * BINS / count, BINS - 1e-9).astype(int)
    indicators = (tenths[:, :, None] == np.arange(BINS)).astype(np.float32).reshape(count, dim * BINS)
    alone = indicators.mean(axis=0, dtype=np.float64).reshape(dim, 1, BINS)
    information = np.empty((dim, dim))
    for place in range(dim):  # one column with all, or the joint tables of many columns would not fit into memory
        own = indicators[:, place * BINS : (place + 1) * BINS]
        joint = (own.T @ indicators).astype(np.float64).reshape(BINS, dim, BINS).swapaxes(0, 1) / count
        ratio = joint / np.maximum(alone[place].T * alone, 1e-300)
        information[place] = (joint * np.log(np.where(joint > 0, ratio, 1))).sum((1, 2))
    return information


def most_dependent(rows: np.ndarray, most: int) -> list[int]:
    """The numbers of the columns with the greatest dependence on others, at most `most`, in the order of the table."""
    information = mutual_information(rows)
    np.fill_diagonal(information, 0.0)
    order = np.argsort(-information.sum(0), kind="stable")
    return sorted(int(place) for place in order[:most])
