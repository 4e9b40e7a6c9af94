"""Density estimation by a flow, with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

import flowlab
from flowlab.flow import Flow
from flowlab.flows._assemble import assemble
from flowlab.seeding import generator
from flowlab.training.fit import Fit, fit_module

LARGEST_SEED = 2**31 - 1


class FlowDensity(DensityMixin, BaseEstimator):
    """A normalizing flow as a density estimator of scikit-learn, for pipelines and searches of settings.

    The flow is trained by maximum likelihood on standardized columns. It ends with the weights of the best validation.
    Log densities are in nats, in the units of X.

    Arguments:
        flow: the name of a flow, such as "nsf", "maf" or "smooth_prelu": an option of the command line's `flow=`.
        settings: settings of the flow, such as {"depth": 4}; the others keep their defaults.
        steps: optimizer steps.
        batch_size: points per step.
        lr: learning rate; None is the optimizer's default.
        validation: the fraction of the points that is held out to choose the best weights; 0 or None holds out none.
        patience: training ends after so many validations without a better one; None trains to the last step.
        dtype: "float64", or "float32", which is faster and rounds earlier.
        random_state: seed of the first parameters, the split and the minibatches; None draws one.

    Attributes:
        flow_: the trained Flow.
        history_: the course of the training, a `flowlab.training.fit.Fit`.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if X was a DataFrame.

    Raises:
        ConfigError: a ValueError: an unknown flow or setting, or points whose density is infinite.

    Example:
        >>> import numpy as np
        >>> from flowlab.sklearn import FlowDensity
        >>> X = np.random.default_rng(0).normal(5, 2, size=(500, 2))
        >>> density = FlowDensity(settings={"depth": 2}, steps=100, lr=0.01, random_state=0).fit(X)
        >>> bool(density.score(X) > -2 * 2.2)  # the entropy of a normal distribution with deviation 2 is 2.11 nats
        True
        >>> density.sample(3, random_state=0).shape
        (3, 2)
    """

    def __init__(
        self,
        flow: str = "nsf",
        *,
        settings: Mapping[str, Any] | None = None,
        steps: int = 2000,
        batch_size: int = 512,
        lr: float | None = None,
        validation: float | None = 0.1,
        patience: int | None = None,
        dtype: str = "float64",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.flow = flow
        self.settings = settings
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.validation = validation
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> FlowDensity:
        """Fit the flow to points X of shape (n, d), n at least 2; y is ignored."""
        points: np.ndarray = validate_data(self, X, dtype="float64", ensure_min_samples=2)
        seed = int(check_random_state(self.random_state).randint(LARGEST_SEED))
        words = [f"flow.{name}={value}" for name, value in (self.settings or {}).items()]
        config = flowlab.compose(f"flow={self.flow}", *words, f"dtype={self.dtype}")
        x = torch.tensor(points, dtype=getattr(torch, config.dtype))
        center, spread = points.mean(axis=0), points.std(axis=0)
        units = (torch.as_tensor(center), torch.as_tensor(np.where(spread > 0, spread, 1.0)))
        self.flow_: Flow = assemble(config.flow, (points.shape[1],), None, generator(seed, "start"), units, x.dtype)
        patience: dict[str, Any] = {} if self.patience is None else {"patience": self.patience}
        self.history_: Fit = fit_module(
            self.flow_,
            x,
            steps=self.steps,
            batch_size=min(self.batch_size, len(x)),
            lr=self.lr,
            # A held-out half of few points says less than the points themselves.
            validation=self.validation if self.validation and self.validation * len(x) >= 2 else None,
            seed=seed,
            progress="off",
            **patience,
        )
        self.flow_.requires_grad_(False)
        return self

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """The log density of each row of X, in nats, of shape (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype="float64", reset=False)
        x = torch.tensor(X, dtype=next(self.flow_.parameters()).dtype)
        return self.flow_.log_prob(x).double().numpy()

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """The average log density of the rows of X, in nats; y is ignored.

        An average, unlike the total of scikit-learn's KernelDensity, depends on no number of rows.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Draw points of shape (n_samples, d)."""
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(LARGEST_SEED))
        return self.flow_.rsample((n_samples,), None, generator(seed, "sample")).double().numpy()
