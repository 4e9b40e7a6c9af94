"""The classifier two-sample test: how well a network tells two sets of points apart."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowlab.config.errors import DataError

LAYERS, WIDTH = 2, 10  # hidden layers, and their units for each coordinate
INTERRUPTED = "Training interrupted by user"  # the warning of scikit-learn


def classifier_two_sample(
    reference: ArrayLike, samples: ArrayLike, *, seed: int = 1, folds: int = 5
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The accuracy of a network that tells samples from a reference, in each fold of a cross-validation.

    Accuracy 0.5 means that it cannot tell them apart; 1 means that they do not overlap. The mean over the folds is the
    C2ST of the benchmark below. Both sets are standardized by the mean and deviation of the reference. The network is
    scikit-learn's MLPClassifier with two hidden layers of 10 d units for d coordinates, ReLU and Adam. It trains until
    its loss stops falling, for at most 10 000 epochs.

    Arguments:
        reference: points of shape (n, d).
        samples: points of shape (m, d); accuracies are comparable for m = n.
        seed: the seed of the network and of the split into folds.
        folds: the number of folds.

    Raises:
        DataError: a set is empty, is not of shape (n, d), holds NaN or infinity, or scikit-learn is missing.

    Reference:
        | Revisiting Classifier Two-Sample Tests (David Lopez-Paz, Maxime Oquab, 2017)
        | https://arxiv.org/abs/1610.06545
        | Benchmarking Simulation-Based Inference (Jan-Matthis Lueckmann et al., 2021)
        | https://arxiv.org/abs/2101.04653

    Example:
        >>> import numpy as np
        >>> from flowlab.metrics.two_sample import classifier_two_sample
        >>> draws = np.random.default_rng(0).normal(size=(2, 500, 1))
        >>> bool(abs(classifier_two_sample(*draws).mean() - 0.5) < 0.05)
        True
    """
    try:
        from sklearn.model_selection import KFold, cross_val_score
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        raise DataError("classifier_two_sample: needs scikit-learn: pip install scikit-learn") from None
    first, second = (_as_points(*each) for each in (("reference", reference), ("samples", samples)))
    if first.shape[1] != second.shape[1]:
        raise DataError(f"samples: have {second.shape[1]} coordinates, and the reference {first.shape[1]}")
    mean, deviation = first.mean(0), first.std(0, ddof=1)
    if not (deviation > 0).all():
        raise DataError(f"reference: coordinate {int(deviation.argmin()) + 1} does not vary; leave it out")
    points = np.concatenate([(each - mean) / deviation for each in (first, second)])
    labels = np.repeat([0, 1], [len(first), len(second)])
    network = MLPClassifier((WIDTH * first.shape[1],) * LAYERS, max_iter=10_000, random_state=seed)
    split = KFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # The network takes Ctrl-C as the end of its training, and continues with a warning and a wrong accuracy.
        warnings.filterwarnings("error", INTERRUPTED, UserWarning)
        try:
            accuracies = cross_val_score(network, points, labels, cv=split, scoring="accuracy", error_score="raise")
        except UserWarning as warning:  # under python -W error, others are errors too
            if INTERRUPTED not in str(warning):
                raise
            raise KeyboardInterrupt from None
    return np.asarray(accuracies)


def _as_points(name: str, given: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
    points = np.asarray(given, dtype=np.float64)
    if points.ndim != 2 or not points.size:
        raise DataError(f"{name}: has shape {points.shape} and must have shape (n, d)")
    if not np.isfinite(points).all():
        raise DataError(f"{name}: holds NaN or infinity; remove these points first")
    return points
