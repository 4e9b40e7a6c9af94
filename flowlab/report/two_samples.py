"""The classifier two-sample test (C2ST): how often a classifier can tell real rows from generated ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats

from flowlab.baselines.base import missing_package

FOLDS = 5
FEWEST_ROWS = 20  # rows of each kind
MOST_ROWS = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class TwoSamples:
    """The result of the test.

    Attributes:
        accuracy: the share of rows that the classifier assigns correctly; 0.5 is perfect for the flow.
        low, high: the interval of the accuracy, by Wilson.
        rows: the number of rows of each kind.
    """

    accuracy: float
    low: float
    high: float
    rows: int


def tell_apart(real: np.ndarray, generated: np.ndarray, seed: int) -> TwoSamples | None:
    """Train a classifier on some folds, and count its errors on the others; None for fewer than FEWEST_ROWS rows.

    The classifier is scikit-learn's HistGradientBoostingClassifier with its defaults, cross-validated in 5 folds. Row i
    of both sets is in the same fold. So a context that both share does not tell the classifier what the other is. With
    one of them in the training folds, the accuracy for equal distributions is far below 0.5.

    Arguments:
        real, generated: equally many rows, of shape (n, columns); row i of both may have the same context.
        seed: the seed of the folds.

    Raises:
        ConfigError: scikit-learn is not installed.

    Source: Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", 2017, https://arxiv.org/abs/1610.06545
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.model_selection import KFold, cross_val_predict
    except ImportError:
        raise missing_package("Classifier two-sample test") from None
    count = min(len(real), MOST_ROWS)
    if count < FEWEST_ROWS:
        return None
    rows = np.concatenate([real[:count], generated[:count]])
    labels = np.repeat([0, 1], count)
    classifier = HistGradientBoostingClassifier(early_stopping=False, random_state=seed % 2**32)
    parts = KFold(FOLDS, shuffle=True, random_state=seed % 2**32).split(real[:count])
    folds = [(np.append(train, train + count), np.append(test, test + count)) for train, test in parts]
    correct = int((cross_val_predict(classifier, rows, labels, cv=folds) == labels).sum())
    interval = scipy.stats.binomtest(correct, 2 * count).proportion_ci(CONFIDENCE, method="wilson")
    return TwoSamples(correct / (2 * count), float(interval.low), float(interval.high), count)
