"""The words of a report: one sentence about the flow, and warnings about what a reader must know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas
import torch

from flowlab.metrics.rows import describe_rows
from flowlab.report.calibration import ALARM, LEAST_DISTANCE, Calibration, calibrate, ks, share_outside
from flowlab.report.html import nats, percent
from flowlab.report.likelihood import Score, score_models
from flowlab.report.record import Record
from flowlab.report.subject import Subject
from flowlab.report.two_samples import TwoSamples, tell_apart

FAR_FROM_HALF = 0.6  # an accuracy of the classifier that calls for a warning
FEW_TEST_ROWS, FEW_TRAIN_ROWS = 200, 20  # rows, and rows for each column
MANY_COPIES = 0.01  # of the rows
NAMED = 6  # columns that a sentence names


class Finding(NamedTuple):
    """A sentence for the reader; a warning if it speaks against the flow or against the numbers of the report."""

    is_warning: bool
    text: str


@dataclass(frozen=True)
class Measured:
    """Everything that is measured of a subject, each once."""

    subject: Subject

    @cached_property
    def scores(self) -> list[Score]:
        return score_models(self.subject)

    @cached_property
    def real(self) -> np.ndarray:
        """Test rows as numbers, of shape (n, columns)."""
        return self.subject.numbers(self.subject.test.x)

    @cached_property
    def generated(self) -> np.ndarray:
        """Generated rows as numbers; the first n have the contexts of the test rows."""
        return self.subject.numbers(self.subject.generated.x)

    @property
    def columns(self) -> list[str]:
        return list(self.subject.columns)

    @cached_property
    def calibrations(self) -> list[Calibration]:
        draws = np.random.default_rng([self.subject.sample_seed, 1])
        pairs = zip(self.columns, self.real.T, self.generated.T, strict=True)
        return [calibrate(name, real, made, len(self.columns), draws) for name, real, made in pairs]

    @cached_property
    def outside(self) -> list[tuple[float, bool]]:
        """For each column the share of generated values outside the range of training, and whether it is a surprise."""
        train = self.subject.numbers(self.subject.train.x)
        pairs = zip(self.generated.T, train.T, strict=True)
        return [share_outside(made, known, len(self.columns)) for made, known in pairs]

    @cached_property
    def log_densities(self) -> tuple[np.ndarray, np.ndarray]:
        """The flow's log densities of test rows, and of as many generated rows."""
        count = len(self.subject.test.x)
        batch = type(self.subject.generated)(*(each[:count] for each in self.subject.generated.tensors()))
        return self.scores[0].log_prob, self.subject.log_prob(batch)

    @cached_property
    def log_density_distance(self) -> tuple[float, float]:
        return ks(*self.log_densities)

    @cached_property
    def two_samples(self) -> TwoSamples | None:
        count = len(self.real)
        sides = [self.real, self.generated[:count]]
        if self.subject.test.context is not None:
            sides = [np.concatenate([side, self.subject.test.context.numpy()], axis=1) for side in sides]
        return tell_apart(sides[0], sides[1], self.subject.sample_seed)

    @cached_property
    def copies(self) -> tuple[float, float]:
        """The share of training rows that are copies of others, and of test rows that are copies of training rows."""
        train, test = (_hashes(batch.tensors()) for batch in (self.subject.train, self.subject.test))
        return float(pandas.Series(train).duplicated().mean()), float(np.isin(test, train).mean())


def sum_up(measured: Measured) -> str:
    """One sentence about the flow."""
    flow, rivals = measured.scores[0], [score for score in measured.scores if score.rows is not None]
    best = rivals[0]
    gap = f"by {_plus_minus(best)} nats per row"
    if best.lead > 2 * best.lead_error:
        likelihood = (
            f"On held-out rows the flow is better than {len(rivals)} simple models, and than the best of them, the "
            f"{best.title}, {gap}"
        )
    elif best.is_better:
        likelihood = f"On held-out rows the flow is worse than the {best.title} {gap}"
    else:
        likelihood = (
            f"On held-out rows the flow is about as good as the best simple model, the {best.title}: "
            f"{nats(flow.mean, 2)} against {nats(best.mean, 2)} nats per row"
        )
    test = measured.two_samples
    if test is None:
        return f"{likelihood}; there are too few test rows for a classifier test."
    told = f"a classifier tells its rows from real ones in {percent(test.accuracy, 1)} of cases, where 50 % is perfect"
    return f"{likelihood}; {told}."


def find(measured: Measured, record: Record) -> list[Finding]:
    """The warnings and notes, warnings first."""
    found = [
        *_likelihood(measured),
        *_two_samples(measured),
        *_columns(measured),
        *_rows(measured),
        *_training(record),
    ]
    found += [Finding(False, f"About the data: {note}.") for note in record.notes]
    return sorted(found, key=lambda finding: not finding.is_warning)


def _likelihood(measured: Measured) -> list[Finding]:
    scores = measured.scores
    found = [
        Finding(
            True,
            f"The flow is below the {score.title} by {_plus_minus(score)} nats per row; {score.advice}.",
        )
        for score in scores
        if score.is_better and score.advice
    ]
    flow = scores[0].log_prob
    if lost := int(np.isneginf(flow).sum()):
        said = f"The flow gives {lost:,} of {len(flow):,} test rows the density 0, so it calls them impossible."
        return [*found, Finding(True, said)]
    target, numbers = measured.subject.target, None
    if target.row_numbers is not None and target.row_weights("test") is None:
        numbers = target.row_numbers["test"][: len(flow)]
    doubts = describe_rows(-torch.from_numpy(flow), math.nan, numbers=numbers)["doubts"]
    return found + [Finding(True, f"About the test rows: {doubt}.") for doubt in doubts]


def _two_samples(measured: Measured) -> list[Finding]:
    test = measured.two_samples
    if test is None or test.low <= 0.5:
        return []
    said = (
        f"A classifier tells generated rows from real ones in {percent(test.accuracy, 1)} of cases "
        f"({percent(test.low, 1)} to {percent(test.high, 1)})"
    )
    if test.low > FAR_FROM_HALF:
        return [Finding(True, f"{said}, far above 50 %: generated rows should not stand in for real ones.")]
    return [Finding(False, f"{said}, above 50 % by more than chance.")]


def _columns(measured: Measured) -> list[Finding]:
    found = []
    far = [
        f"{each.column} ({each.distance:.2f})"
        for each in sorted(measured.calibrations, key=lambda each: -each.distance)
        if each.is_far
    ]
    if far:
        found.append(
            Finding(
                True,
                f"The distribution of generated values differs from the real one in {_some(far)}: see the "
                "histograms. In brackets is the largest difference of the distribution functions.",
            )
        )
    bad = [each.column for each in measured.calibrations if any(tail.is_alarming for tail in each.tails)]
    if bad:
        found.append(
            Finding(True, f"The tails of generated values are too light or too heavy in {_some(bad)}: see Tails.")
        )
    shares = [
        f"{name} ({percent(share)})"
        for name, (share, is_alarming) in zip(measured.columns, measured.outside, strict=True)
        if is_alarming
    ]
    if shares:
        found.append(
            Finding(
                True,
                f"More generated values than expected lie outside the range of the training rows in "
                f"{_some(shares)}; if a column has bounds, its generated values can be impossible.",
            )
        )
    distance, chance = measured.log_density_distance
    if chance < ALARM and distance > LEAST_DISTANCE:
        real, made = (float(np.median(values)) for values in measured.log_densities)
        found.append(
            Finding(
                True,
                f"The flow's log densities of real rows and of generated rows differ: their medians are "
                f"{nats(real, 2)} and {nats(made, 2)} nats, and the distance of their distributions is {distance:.2f}.",
            )
        )
    return found


def _rows(measured: Measured) -> list[Finding]:
    subject, found = measured.subject, []
    test, train, dim = len(subject.test.x), len(subject.train.x), len(subject.columns)
    if test < FEW_TEST_ROWS:
        found.append(Finding(True, f"There are {test} test rows; all numbers below are rough."))
    if train < FEW_TRAIN_ROWS * dim:
        columns = f"{dim} column{'s' * (dim > 1)}"
        found.append(Finding(True, f"There are {train} training rows for {columns}; a flow can memorize them."))
    own, leaked = (0.0, 0.0) if subject.target.row_weights("train") is not None else measured.copies
    if max(own, leaked) > MANY_COPIES:
        found.append(
            Finding(
                True,
                f"{percent(own, 1)} of the training rows are copies of other training rows, and "
                f"{percent(leaked, 1)} of the test rows are copies of training rows: the held-out likelihood flatters "
                "every model; remove the copies first.",
            )
        )
    return found


def _training(record: Record) -> list[Finding]:
    if record.ended_by == "max_time":
        return [Finding(True, f"Training ended at step {record.steps:,}, when its time was over: resume it with more.")]
    if record.ended_by == "max_steps" and record.best_step == record.steps:
        said = f"The last validation, at step {record.steps:,}, was the best one: more max_steps may improve the flow."
        return [Finding(False, said)]
    if record.best_step < record.steps / 2:
        said = (
            f"The best validation was at step {record.best_step:,} of {record.steps:,}: later steps memorized the "
            "training rows. A smaller flow or more rows may do better; more steps will not."
        )
        return [Finding(False, said)]
    return []


def _plus_minus(score: Score) -> str:
    """The size of a lead with its standard error, which has two digits at least."""
    error = score.lead_error
    digits = min(6, max(2, 1 - math.floor(math.log10(error)))) if 0 < error < math.inf else 2
    return f"{nats(abs(score.lead), digits)} ± {nats(error, digits)}"


def _some(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _hashes(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    """A hash of each row, of shape (n,)."""
    rows = np.concatenate([tensor.numpy() for tensor in tensors], axis=1)
    return pandas.util.hash_pandas_object(pandas.DataFrame(rows), index=False).to_numpy()
