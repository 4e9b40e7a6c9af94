"""Measure a flow on held-out points, and the metrics that every run has: likelihood, divergence, inverse error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flowlab.config.errors import ConfigError
from flowlab.config.registry import lookup, names, register

if TYPE_CHECKING:
    from torch import Tensor

    from flowlab.distributed.world import World
    from flowlab.flow import Flow
    from flowlab.targets.base import Batch, ExactTarget, Target

VALIDATION = ("nll", "nll_se", "kl", "bits_per_dim", "inverse_error")
OF_SAMPLES = ("elbo", "elbo_se", "inverse_error")  # for a target without points
TEST = (*VALIDATION, "kl_se")
CHUNK = 20_000  # points scored at a time
MAPPED_BACK = 1000  # points that a quick evaluation maps back, where that takes several passes of a network
SINGULAR = 1e6 * 2.0**-52  # the least variance over the largest, below which a covariance counts as singular


@dataclass(frozen=True)
class Evaluation:
    """A flow's scores of held-out points, or of its own; metrics are functions of it.

    Attributes:
        flow: the flow that is measured.
        batch: n points and their contexts.
        target: the distribution to learn, if one is given.
        log_prob: the flow's log density of each point, in nats, of shape (n,) in float64.
        target_log_prob: the target's, or None where it is not known. For points of the flow it is not normalized.
        inverse_errors: the largest |f(f^-1(x)) - x| over the coordinates of each point; NaN outside the support. A
            quick evaluation may have it for the first points alone.
        column_errors: the largest over the points, for each coordinate; of several ranks, over the points of this one.
        weights: how much each point counts, of shape (n,); None if all count the same.
        of_samples: the points are samples of the flow, because the target has none.
    """

    flow: Flow
    batch: Batch
    target: Target | None
    log_prob: Tensor
    target_log_prob: Tensor | None
    inverse_errors: Tensor
    column_errors: Tensor
    weights: Tensor | None = None
    of_samples: bool = False

    @cached_property
    def log_ratio(self) -> Tensor | None:
        """log p - log q of each point, in nats."""
        return None if self.target_log_prob is None else self.target_log_prob - self.log_prob

    def measure(self, names: Sequence[str]) -> dict[str, float]:
        """Metrics by name, without those that are not defined here."""
        metrics = [lookup("metric", name) for name in names]
        values = {name: metric(self) for name, metric in zip(names, metrics, strict=True)}
        return {name: float(value) for name, value in values.items() if value is not None}


def evaluate(
    flow: Flow,
    batch: Batch,
    target: Target | None = None,
    world: World | None = None,
    weights: Tensor | None = None,
    quick: bool = False,
) -> Evaluation:
    """Score a flow on a batch of at least 2 points, CHUNK at a time.

    Several ranks score a shard each; all of them then have the scores of all points. A quick evaluation, as during a
    training, maps MAPPED_BACK points to the base and back where the way back takes several passes of a network. It
    takes as many as the points have coordinates, and would be the slowest part.
    """
    import torch

    known = target is not None and is_normalized(target)
    few = quick and flow.bijector.forward_passes > 1 and len(batch.x) > MAPPED_BACK
    log_q, log_p, errors, columns = [], [], [], []
    with torch.no_grad():
        for x, context in chunks(world.shard(batch) if world else batch):
            z, log_prob = flow.inverse_and_log_prob(x, context)
            log_q.append(log_prob)
            if not few:
                moved = (flow.bijector.forward(z, context) - x).abs().reshape(len(x), -1)
                errors.append(moved.amax(-1))
                columns.append(moved.amax(0))
            if known:
                log_p.append(target.log_prob(x) if context is None else target.log_prob(x, context))  # type: ignore[union-attr]

    log_prob = gather(log_q, len(batch.x), world).double()
    target_log_prob = gather(log_p, len(batch.x), world).double() if log_p else None
    counts = None if weights is None else weights.to(batch.x.device)
    if few:
        first = evaluate(flow, chunks(batch, MAPPED_BACK)[0], world=world)
        moved, farthest = first.inverse_errors, first.column_errors
    else:
        moved, farthest = gather(errors, len(batch.x), world), torch.stack(columns).amax(0)
    return Evaluation(flow, batch, target, log_prob, target_log_prob, moved, farthest, counts)


def gather(parts: list[Tensor], count: int, world: World | None) -> Tensor:
    """The scores of all points, of which each rank has a shard."""
    import torch

    scores = torch.cat(parts)
    return world.all_gather(scores, count) if world else scores


def is_normalized(target: Target) -> bool:
    """Whether the density of a target is known with its constant, so a KL divergence can be measured."""
    return target.has_density and target.log_normalizer is not None


def reverse_kl(flow: Flow, target: ExactTarget, count: int, seed: int) -> dict[str, float]:
    """KL(q || p) = mean (log q - log p) over `count` points of the flow, and its standard error, in nats."""
    import torch

    from flowlab.seeding import generator

    ratios: list[Tensor] = []
    with torch.no_grad():
        like = next(flow.parameters())
        for part, first in enumerate(range(0, count, CHUNK)):
            draws = generator(seed, "reverse_kl", part, like.device)
            y, log_prob = flow.rsample_and_log_prob(min(CHUNK, count - first), generator=draws)
            ratios.append((log_prob - target.log_prob(y)).double())
    values = torch.cat(ratios)
    return {"reverse_kl": float(values.mean()), "reverse_kl_se": _standard_error(values)}


def chunks(batch: Batch, size: int = CHUNK) -> list[Batch]:
    """A batch in parts of at most `size` points."""
    return [type(batch)(*parts) for parts in zip(*(tensor.split(size) for tensor in batch.tensors()), strict=True)]


def for_samples(metric: Callable[[Evaluation], float | None]) -> Callable[[Evaluation], float | None]:
    """Declare that a metric is also defined for points of the flow, where the target has none."""
    metric.for_samples = True  # type: ignore[attr-defined]
    return metric


def higher_is_better(metric: Callable[[Evaluation], float | None]) -> Callable[[Evaluation], float | None]:
    """Declare that a better flow has a higher value of a metric; without it lower is better."""
    metric.higher_is_better = True  # type: ignore[attr-defined]
    return metric


def needs_density(metric: Callable[[Evaluation], float | None]) -> Callable[[Evaluation], float | None]:
    """Declare that a metric is defined where the density of the target is known, and nowhere else."""
    metric.needs_density = True  # type: ignore[attr-defined]
    return metric


def expected_metrics(extra: Sequence[str], target: Target) -> list[str]:
    """The metrics that a validation gives: the columns of a run's metrics.csv."""
    wanted = metric_names(extra, target)
    metrics = [lookup("metric", name) for name in wanted]
    return [name for name, is_defined in zip(wanted, _are_defined(metrics, target), strict=True) if is_defined]


def _are_defined(metrics: Sequence[Any], target: Target) -> list[bool]:
    """Whether each metric is defined for a target, by what the metric declares and what the target has."""
    if not target.has_points:
        return [getattr(metric, "for_samples", False) for metric in metrics]
    normalized = is_normalized(target)
    return [normalized or not getattr(metric, "needs_density", False) for metric in metrics]


def is_higher_better(name: str) -> bool:
    """Whether a better flow has a higher value of a metric; a number of that name that is no metric is a loss."""
    return name in names("metric") and getattr(lookup("metric", name), "higher_is_better", False)


def metric_names(extra: Sequence[str] = (), target: Target | None = None) -> list[str]:
    """The metrics of a validation: those that every run has, and further ones; the first says which flow is best."""
    always = VALIDATION if target is None or target.has_points else OF_SAMPLES
    return list(dict.fromkeys([*always, *extra]))


def check_metrics(extra: Sequence[str], target: Target | None) -> None:
    """Check that a target has what the metrics need.

    Raises:
        ConfigError: a metric is unknown, or needs points of a target that has none.
    """
    metrics = [lookup("metric", name, "metrics") for name in extra]
    if target is None or target.has_points:
        return
    for name, is_defined in zip(extra, _are_defined(metrics, target), strict=True):
        if not is_defined:
            known = names("metric")
            defined = _are_defined([lookup("metric", each) for each in known], target)
            allowed = ", ".join(each for each, is_one in zip(known, defined, strict=True) if is_one)
            raise ConfigError(
                f"metrics={list(extra)}: {name} is measured on points of the target, and this target has a density "
                f"alone; allowed: {allowed}"
            )


@register("metric", "nll")
def nll(evaluation: Evaluation) -> float:
    """-mean log q, in nats; with weights the weighted mean."""
    return -float(_mean(evaluation.log_prob, evaluation.weights))


@register("metric", "nll_se")
def nll_se(evaluation: Evaluation) -> float:
    """The standard error of nll, in nats."""
    log_prob, weights = evaluation.log_prob, evaluation.weights
    if weights is None:
        return _standard_error(log_prob)
    return float((weights * (log_prob - _mean(log_prob, weights))).norm() / weights.sum())


@register("metric", "kl")
@needs_density
def kl(evaluation: Evaluation) -> float | None:
    """KL(p || q) = mean (log p - log q), in nats; None where the target's density p is not known."""
    return None if evaluation.log_ratio is None else float(evaluation.log_ratio.mean())


@register("metric", "kl_se")
@needs_density
def kl_se(evaluation: Evaluation) -> float | None:
    """The standard error of kl, in nats."""
    return None if evaluation.log_ratio is None else _standard_error(evaluation.log_ratio)


@register("metric", "bits_per_dim")
def bits_per_dim(evaluation: Evaluation) -> float:
    """nll in bits, for each coordinate of a point."""
    return nll(evaluation) / (math.prod(evaluation.batch.x.shape[1:]) * math.log(2))


@register("metric", "inverse_error")
@for_samples
def inverse_error(evaluation: Evaluation) -> float:
    """The largest |f(f^-1(x)) - x| over the points, in their units; NaN where one is outside the support."""
    return float(evaluation.inverse_errors.max())


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    return values.mean() if weights is None else (weights * values).sum() / weights.sum()


def _standard_error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values)))


def gaussian_nll(
    train: Tensor, test: Tensor, weights: Tensor | None = None, test_weights: Tensor | None = None
) -> float:
    """Average NLL in nats, on test points, of the Gaussian with the mean and full covariance of the training points.

    The baseline that a flow must beat; infinite where the covariance is singular. It is computed for standardized
    columns: in one covariance of columns of very different scale, a small variance looks like none.
    """
    import numpy as np

    points, tested = (part.double().cpu().reshape(len(part), -1).numpy() for part in (train, test))
    mean, deviation = points.mean(axis=0), points.std(axis=0)
    if not deviation.all():
        return math.inf
    points, tested = (points - mean) / deviation, (tested - mean) / deviation
    center = np.average(points, axis=0, weights=weights)
    covariance = np.atleast_2d(np.cov(points, rowvar=False, bias=True, aweights=weights))
    if not np.isfinite(covariance).all():
        return math.inf
    variances, axes = np.linalg.eigh(covariance)
    if variances[0] <= SINGULAR * variances[-1]:
        return math.inf
    scaled = (tested - center) @ (axes / np.sqrt(variances))
    log_density = -0.5 * ((scaled**2).sum(axis=1) + np.log(2 * math.pi * variances).sum())
    return float(np.log(deviation).sum() - np.average(log_density, weights=test_weights))
