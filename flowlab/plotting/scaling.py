"""Power laws fitted to what something costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


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
