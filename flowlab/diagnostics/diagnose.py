"""All checks of a flow against a density, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from flowlab.config.errors import ConfigError
from flowlab.diagnostics import importance
from flowlab.diagnostics.diagnosis import Diagnosis
from flowlab.diagnostics.modes import ModeCoverage, nearest, shares
from flowlab.diagnostics.pareto import pareto_k
from flowlab.diagnostics.tails import LEVELS, MarginalTails, Tail, level_tails
from flowlab.distributions.base import as_points
from flowlab.flow import Flow
from flowlab.seeding import generator
from flowlab.targets.base import ExactTarget, Target

LogDensity = Callable[[Tensor], Tensor]
CHUNK_NUMBERS, CHUNK_POINTS = 2**20, 20_000  # in memory at a time


def diagnose(
    flow: Flow,
    target: Target | LogDensity,
    samples: Any = None,
    *,
    draws: int = 10_000,
    centres: Any = None,
    context: Any = None,
    seed: int = 0,
) -> Diagnosis:
    r"""How well does a flow q approximate a density p = p~ / Z? Bounds on log Z, weights, tails and modes.

    Draws of the flow give the ELBO, log Z by importance sampling, the effective sample size and the Pareto k of the
    weights, p~ over q. They say nothing about a part of the target where the flow has no draws. Samples of the target
    do: with them, it also gives the EUBO, the forward effective sample size, and the tails.

    Arguments:
        flow: a Flow.
        target: an ExactTarget; or a function that gives log p~, in nats up to a constant, of shape (n,), for points of
            shape (n, *event).
        samples: independent samples of the target, of shape (n, *event); thin the draws of a Markov chain first. None
            draws `draws` samples of an ExactTarget that has points.
        draws: the number of draws of the flow, at least 2.
        centres: a point of each mode, of shape (k, *event); None takes the target's, if it names them.
        context: one context of the flow, of shape (c,), or None.
        seed: the seed of the draws.

    At most 20 000 points, or 2^20 numbers, are in memory at a time, and 1 % of the draws are kept for the tails. Sums
    are in float64.

    Returns:
        A `Diagnosis`; printing it gives a table with warnings.

    Raises:
        ConfigError: the target has no density, the density has the wrong shape or is NaN, or the samples do not fit.

    Example:
        >>> import torch, flowlab
        >>> from flowlab.bijectors import AffineScalar
        >>> flow = flowlab.Flow(flowlab.StandardNormal(2), AffineScalar())
        >>> found = flowlab.diagnose(flow, lambda x: -x.square().sum(-1) / 2)  # log Z = log(2 pi)
        >>> round(found.log_z.value, 3), round(found.ess, 3), found.warnings
        (1.838, 1.0, ())
    """
    log_density = _density_of(target)
    if not isinstance(draws, int) or draws < 2:
        raise ConfigError(f"draws={draws!r}: must be a whole number, at least 2")
    if samples is None and isinstance(target, ExactTarget) and target.has_points:
        samples = target.sample(
            draws, generator(seed, "diagnose: samples", device=flow.anchor.device), flow.anchor.dtype
        )
    modes = _as_centres(flow, getattr(target, "centres", None) if centres is None else centres)
    marginals = None if samples is None else MarginalTails(draws)
    with torch.no_grad():
        of_draws = _Scores(log_density, modes)
        for y, log_q in _draw(flow, draws, context, seed):
            of_draws.add(y, log_q)
            if marginals:
                marginals.add_draws(y.flatten(1))
        of_samples = _Scores(log_density, modes)
        if marginals:
            for y in _as_samples(flow, samples).split(_rows(flow)):
                y = y.to(flow.anchor)
                of_samples.add(y, flow.log_prob(y, context))
                marginals.add_samples(y.flatten(1))
    tails = _tails(of_draws, of_samples, marginals) if marginals else ()
    return _conclude(of_draws, of_samples if marginals else None, tails, modes)


class _Scores:
    """log q, log weights and modes of points that come in chunks."""

    def __init__(self, log_density: LogDensity, centres: Tensor | None) -> None:
        self.log_density, self.centres = log_density, centres
        self._log_q: list[Tensor] = []
        self._log_p: list[Tensor] = []
        self._modes: list[Tensor] = []

    def add(self, y: Tensor, log_q: Tensor) -> None:
        try:
            log_p = self.log_density(y)
        except Exception as error:  # a user's function may raise anything
            raise ConfigError(
                f"log_density: fails for points of shape {tuple(y.shape)}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(log_p, Tensor) or log_p.shape != log_q.shape:
            shape = tuple(log_p.shape) if isinstance(log_p, Tensor) else type(log_p).__name__
            raise ConfigError(
                f"log_density: gives {shape} for points of shape {tuple(y.shape)} and must give a tensor of shape "
                f"{tuple(log_q.shape)}, one number a point; sum over the coordinates with .sum(-1)"
            )
        self._log_q.append(log_q.cpu().double())
        self._log_p.append(log_p.cpu().double())
        if self.centres is not None:
            self._modes.append(nearest(y.flatten(1), self.centres))

    @property
    def log_q(self) -> Tensor:
        return torch.cat(self._log_q)

    @property
    def log_weights(self) -> Tensor:
        log_p = torch.cat(self._log_p)
        if log_p.isnan().any() or (log_p == torch.inf).any():
            raise ConfigError("log_density: is NaN or infinite at a point; use -inf where the density is 0")
        return log_p - self.log_q

    @property
    def modes(self) -> Tensor:
        return torch.cat(self._modes)


def _conclude(drawn: _Scores, sampled: _Scores | None, tails: tuple[Tail, ...], centres: Tensor | None) -> Diagnosis:
    reverse = drawn.log_weights
    if (reverse == -torch.inf).all():
        raise ConfigError("log_density: is -inf at every draw of the flow; check the support, or train the flow first")
    forward = None if sampled is None else sampled.log_weights
    modes = None
    if centres is not None:
        count = len(centres)
        weights = (reverse - reverse.max()).exp()
        target = shares(drawn.modes, count, weights) if sampled is None else shares(sampled.modes, count)
        modes = ModeCoverage(shares(drawn.modes, count), target)
    log_z = importance.log_evidence(reverse)
    outside = [0.0 if each is None else float(each.isinf().double().mean()) for each in (reverse, forward)]
    return Diagnosis(
        draws=len(reverse),
        samples=0 if forward is None else len(forward),
        elbo=importance.bound(reverse),
        eubo=None if forward is None else importance.bound(forward),
        log_z=log_z,
        ess=importance.effective_share(reverse),
        forward_ess=None if forward is None else importance.forward_effective_share(forward, log_z.value),
        pareto_k=pareto_k(reverse),
        forward_pareto_k=None if forward is None else pareto_k(forward),
        outside=(outside[0], outside[1]),
        tails=tails,
        modes=modes,
    )


def _tails(drawn: _Scores, sampled: _Scores, marginals: MarginalTails) -> tuple[Tail, ...]:
    tests = len(LEVELS) + marginals.tests
    names = [f"x{number + 1}" for number in range(marginals.columns)]
    levels = level_tails(drawn.log_q.numpy(), sampled.log_q.numpy(), tests)
    return (*levels, marginals.worst(names, tests))


def _draw(flow: Flow, draws: int, context: Any, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    rows = _rows(flow)
    for part, first in enumerate(range(0, draws, rows)):
        stream = generator(seed, "diagnose: draws", part, flow.anchor.device)
        batch = flow.batch_shape(context) + flow._promoted_shape
        x = flow.base.sample((min(rows, draws - first),), stream, batch)  # not every base has rsample
        yield flow.push_forward(x, context)


def _rows(flow: Flow) -> int:
    """The points of one chunk."""
    return max(1, min(CHUNK_POINTS, CHUNK_NUMBERS // max(1, flow.event_shape.numel())))


def _density_of(target: Target | LogDensity) -> LogDensity:
    if isinstance(target, ExactTarget) and target.context_shape is None:
        return target.log_prob
    if isinstance(target, Target) or not callable(target):
        named = getattr(target, "name", "") or type(target).__name__
        raise ConfigError(
            f"diagnose: target={named} has no density without a context; give an ExactTarget, or a function of points "
            "of shape (n, *event) that returns log densities of shape (n,)"
        )
    return target


def _as_samples(flow: Flow, samples: Any) -> Tensor:
    points = samples if isinstance(samples, Tensor) else as_points(samples, flow.anchor)
    if points.shape[1:] != flow.event_shape or not len(points):
        raise ConfigError(
            f"samples: have shape {tuple(points.shape)} and must have shape (n, *event) for the flow's events of shape "
            f"{tuple(flow.event_shape)}"
        )
    return points.detach()


def _as_centres(flow: Flow, centres: Any) -> Tensor | None:
    if centres is None:
        return None
    points = as_points(centres, flow.anchor).to(flow.anchor.device)
    if points.shape[1:] != flow.event_shape or not len(points):
        raise ConfigError(
            f"centres: have shape {tuple(points.shape)} and must have shape (k, *event) for the flow's events of shape "
            f"{tuple(flow.event_shape)}"
        )
    return points.flatten(1)
