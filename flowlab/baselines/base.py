"""The interface of a baseline: fit it to rows, then score rows."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from flowlab.config.errors import ConfigError, DataError

CHUNK = 20_000  # rows scored at once


class Baseline(ABC):
    """A density model of rows of numbers. It sees standardized columns; its densities are in the units of the data.

    A subclass defines `_fit`, `_log_prob` and `_keep` for standardized rows.

    Attributes:
        title: the name in tables.
        advice: what to do about a flow that is worse.
        most_rows: more training rows than these are thinned out evenly, so fitting stays quick.
        most_validation_rows: the same for validation rows, which choose a setting.
        note: how the settings were chosen, in words; set by `fit`.
        rows: the number of rows that the model was fitted to; set by `fit`.

    Example:
        >>> import numpy as np
        >>> from flowlab.baselines import Gaussian
        >>> rows = np.random.default_rng(0).normal(size=(1000, 2))
        >>> Gaussian().fit(rows[:800], rows[800:]).log_prob([[0.0, 0.0]]).round(1)  # -log(2 pi)
        array([-1.8])
    """

    title: ClassVar[str]
    advice: ClassVar[str] = "other settings may do better, such as flow=nsf, flow=nsf_ar or more max_steps"
    most_rows: ClassVar[int]
    most_validation_rows: ClassVar[int] = 4000
    note = ""
    rows = 0

    def fit(self, train: np.ndarray, validation: np.ndarray, seed: int = 0, conditions: int = 0) -> Self:
        """Fit the model.

        Arguments:
            train: rows of shape (n, d), in random order.
            validation: rows of shape (m, d), which choose settings such as a bandwidth.
            seed: the seed of the random numbers that the fit uses.
            conditions: the number of columns, the last ones, that the model will be conditioned on. Validation rows
                then choose a bandwidth by their conditional density.

        Raises:
            DataError: a column has one value, a value is not finite, or there are fewer than 2 rows.
            ConfigError: the model needs a package that is not installed.
        """
        train = thin(np.asarray(train, dtype=np.float64), self.most_rows)
        validation = thin(np.asarray(validation, dtype=np.float64), self.most_validation_rows)
        if len(train) < 2 or not np.isfinite(train).all():
            raise DataError(f"{self.title}: needs at least 2 rows of finite numbers; leave out the others")
        self.rows = len(train)
        self._center, self._spread = train.mean(0), train.std(0)
        if not (self._spread > 0).all():
            place = int(np.flatnonzero(self._spread <= 0)[0])
            raise DataError(f"{self.title}: column {place + 1} has one value in every row; leave it out")
        self._conditions = conditions
        self._fit(self._standardize(train), self._standardize(validation), seed)
        return self

    def log_prob(self, points: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
        """Log density in nats, in the units of the data, of rows of shape (n, d); of shape (n,) in float64."""
        z = self._standardize(np.asarray(points, dtype=np.float64))
        parts = [self._log_prob(z[begin : begin + CHUNK]) for begin in range(0, len(z), CHUNK)]
        return np.concatenate([np.empty(0), *parts]) - np.log(self._spread).sum()

    def marginal(self, places: Sequence[int]) -> Self:
        """The fitted model of some columns, by their numbers from 0.

        Then log p(x | c) = log p(x, c) - log p(c) is `model.log_prob(xc) - model.marginal(places).log_prob(c)`.
        """
        chosen = np.asarray(places)
        other = copy.copy(self)
        other._center, other._spread = self._center[chosen], self._spread[chosen]
        other._keep(chosen)
        return other

    def _standardize(self, rows: np.ndarray) -> np.ndarray:
        return (rows - self._center) / self._spread

    @abstractmethod
    def _fit(self, train: np.ndarray, validation: np.ndarray, seed: int) -> None:
        """Fit to standardized rows, and set `note`."""

    @abstractmethod
    def _log_prob(self, z: np.ndarray) -> np.ndarray:
        """Log density of standardized rows of shape (n, d); of shape (n,)."""

    @abstractmethod
    def _keep(self, places: np.ndarray) -> None:
        """Keep the columns of some numbers; replaces attributes, and changes no array, which the joint model shares."""


def thin(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` rows, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def missing_package(title: str) -> ConfigError:
    """The error of a model whose package is not installed."""
    return ConfigError(f"{title}: needs scikit-learn, which is not installed; type pip install 'flowlab-nf[sklearn]'")
