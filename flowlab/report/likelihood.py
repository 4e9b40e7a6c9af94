"""The held-out likelihoods of a flow and of the baselines, with paired differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowlab.baselines import BASELINES
from flowlab.baselines.base import Baseline
from flowlab.report.subject import Subject
from flowlab.targets.base import Batch, ExactTarget


@dataclass(frozen=True)
class Score:
    """The log densities that a model gives test rows.

    Attributes:
        title: the model's name.
        log_prob: the log density of each test row in nats, of shape (n,).
        flow_log_prob: the flow's log densities of the same rows.
        note: how the model was fitted.
        rows: the number of rows that it was fitted to; None if it is no baseline.
        advice: what to do about a flow that is worse.
    """

    title: str
    log_prob: np.ndarray
    flow_log_prob: np.ndarray
    note: str
    rows: int | None = None
    advice: str = ""

    @property
    def mean(self) -> float:
        """Nats per row."""
        return float(self.log_prob.mean())

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return standard_error(self.log_prob)

    @property
    def lead(self) -> float:
        """How far the flow is above this model, in nats per row."""
        with np.errstate(invalid="ignore"):  # the difference of two infinities
            return float((self.flow_log_prob - self.log_prob).mean())

    @property
    def lead_error(self) -> float:
        """The standard error of the lead, from the differences of the same rows."""
        with np.errstate(invalid="ignore"):
            return standard_error(self.flow_log_prob - self.log_prob)

    @property
    def is_better(self) -> bool:
        """Whether this model is above the flow by more than two standard errors."""
        return self.lead == -np.inf or self.lead < -2 * self.lead_error


def score_models(subject: Subject) -> list[Score]:
    """The flow first, then the target if its density is known, then the baselines, the best first."""
    found = subject.log_prob(subject.test)
    scores = [Score("this flow", found, found, "")]
    if isinstance(subject.target, ExactTarget):
        known = subject.target.log_prob(*subject.test.tensors()).double().cpu().numpy()
        scores.append(Score("the target itself", known, found, "exact density: no model is better on average"))
    fitted = [score_baseline(subject, baseline()) for baseline in BASELINES]
    models = [Score(model.title, values, found, model.note, model.rows, model.advice) for model, values in fitted]
    return scores + sorted(models, key=lambda score: -score.mean)


def score_baseline(subject: Subject, model: Baseline) -> tuple[Baseline, np.ndarray]:
    """Fit a baseline to the training rows; gives it, and its log density of each test row given the row's context."""
    train, validation, test = map(joined, (subject.train, subject.validation, subject.test))
    model.fit(train, validation, subject.sample_seed, conditions=subject.context_size)
    values = model.log_prob(test)
    if subject.test.context is not None:
        dim = subject.test.x.shape[1]
        values = values - model.marginal(range(dim, test.shape[1])).log_prob(test[:, dim:])
    return model, values


def joined(batch: Batch) -> np.ndarray:
    """Points with their contexts, side by side."""
    return np.concatenate([tensor.numpy() for tensor in batch.tensors()], axis=1)


def standard_error(values: np.ndarray) -> float:
    """The standard error of a mean; infinite if a value is."""
    with np.errstate(invalid="ignore"):
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.inf
    return error if np.isfinite(error) else np.inf
