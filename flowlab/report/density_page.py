"""The page about a flow that was fitted to a log density: without rows, the density judges draws of the flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import torch

from flowlab.config.errors import ConfigError
from flowlab.diagnostics.diagnose import diagnose
from flowlab.diagnostics.diagnosis import Diagnosis
from flowlab.diagnostics.pareto import smooth_weights
from flowlab.flow import Flow
from flowlab.plotting.report import marginal_histogram, pair_densities
from flowlab.report.comparisons import PAIRED, SHOWN
from flowlab.report.dependence import most_dependent
from flowlab.report.findings import Finding
from flowlab.report.html import (
    Html,
    document,
    element,
    figure,
    figures,
    join,
    nats,
    number,
    numbers_like,
    paragraphs,
    percent,
    table,
)
from flowlab.report.page import describe_origin, describe_terms, list_findings
from flowlab.report.record import Record
from flowlab.report.terms import DENSITY_TERMS
from flowlab.seeding import generator, pick
from flowlab.targets.base import Target

DRAWS, MOST_NUMBERS = 20_000, 10_000_000  # draws of the flow, and numbers in a table of them
LEVELS = (0.025, 0.25, 0.5, 0.75, 0.975)
SIDES = ("weighted", "flow")
FAR = 0.5  # nats from the ELBO to log Z, which call for a warning


@dataclass(frozen=True)
class Weighed:
    """Everything that is measured of a flow and a log density, each once.

    Arguments:
        flow: a flow of vectors.
        target: a target with a density and without points.
        columns: the names of the coordinates.
        seed: the seed of the draws.
    """

    flow: Flow
    target: Target
    columns: Sequence[str]
    seed: int = 0

    @property
    def count(self) -> int:
        return min(DRAWS, max(1000, MOST_NUMBERS // len(self.columns)))

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return diagnose(self.flow, self.target, draws=self.count, seed=self.seed)

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray]:
        draws = generator(self.seed, "report", device=self.flow.anchor.device)
        with torch.no_grad():
            points, log_q = self.flow.rsample_and_log_prob((self.count,), generator=draws)
            log_p = self.target.log_prob(points)  # type: ignore[attr-defined]  # diagnose has checked it
        if bad := int((~points.isfinite().all(1)).sum()):
            raise ConfigError(
                f"{bad} of {len(points)} draws of the flow are not finite, so there is nothing to show; train the flow "
                "longer, or use a lower optimizer.lr"
            )
        weights, _ = smooth_weights((log_p.double() - log_q.double()).cpu().numpy())
        return points.double().cpu().numpy(), weights

    @property
    def draws(self) -> np.ndarray:
        """Draws of the flow, of shape (n, columns)."""
        return self._drawn[0]

    @property
    def weights(self) -> np.ndarray:
        """Their Pareto smoothed weights, of shape (n,), which sum to 1."""
        return self._drawn[1]

    @cached_property
    def resampled(self) -> np.ndarray:
        """As many draws, drawn again by their weights."""
        places = pick(torch.from_numpy(self.weights), self.count, generator(self.seed, "report weights"))
        return self.draws[places.numpy()]


def build_density_page(weighed: Weighed, record: Record, command: Sequence[str]) -> str:
    """The whole page as HTML; equal arguments give equal text.

    Arguments:
        weighed: what is measured of the flow.
        record: facts about its run.
        command: the words that make the page.
    """
    found = weighed.diagnosis
    findings = _find(found, record)
    named = record.settings.get("target._target_", record.data)
    facts = {"Target": named, "Columns": len(weighed.columns), "Draws": f"{found.draws:,}"} | record.facts()
    sections = {
        "warnings": ("Warnings", list_findings(findings)),
        "diagnosis": ("Flow against density", _diagnose(found)),
        "marginals": ("Marginals", _marginals(weighed)),
        "origin": ("How this page was made", describe_origin(record, command)),
        "terms": ("Terms", describe_terms(DENSITY_TERMS)),
    }
    verdict = _sum_up(found, any(finding.is_warning for finding in findings))
    return document(f"Report on {record.name}", verdict, facts, sections)


def _sum_up(found: Diagnosis, warned: bool) -> str:
    """One sentence about the flow; `warned` says whether warnings follow it."""
    bounds = (f"{nats(value)} ± {nats(error)} nats" for value, error in (found.elbo, found.log_z))
    said = "The ELBO is {}, and log Z by importance sampling {}; ".format(*bounds)
    worth = f"the draws of the flow are worth {percent(found.ess, 1)} as many draws of the target"
    return f"{said}{worth}{'; read the warnings before you use them' if warned else ''}."


def _find(found: Diagnosis, record: Record) -> list[Finding]:
    """The warnings, and the note that every such page needs."""
    warnings = [Finding(True, f"{each[0].upper()}{each[1:]}.") for each in found.warnings]
    if (gap := found.log_z.value - found.elbo.value) > FAR:
        said = (
            f"The ELBO is {nats(gap, 2)} nats below log Z, so draws of the flow differ from the target: train the flow "
            "longer, with more layers, or use weighted draws."
        )
        warnings.append(Finding(True, said))
    if record.ended_by == "max_time":
        said = f"Training ended at step {record.steps:,}, when its time was over: resume it with more."
        warnings.append(Finding(True, said))
    blind = (
        "All numbers come from draws of the flow, so none shows a part of the target where the flow has no draws. "
        "Train with other seeds and compare the ELBOs, or give samples of the target to flowlab.diagnose."
    )
    return [*warnings, Finding(False, blind)]


def _diagnose(found: Diagnosis) -> Html:
    said = (
        "The density of the target is known up to the constant log Z. The ELBO is a lower bound on log Z; the nearer "
        "they are, the better is the flow. The weights correct the draws of an imperfect flow, as long as their "
        "Pareto k is good."
    )
    rows = [
        (name, value.replace("+-", "±").replace("-", "\N{MINUS SIGN}"), meaning) for name, value, meaning in found.rows
    ]
    return join(paragraphs(said), table("The flow against the density", ["", "value", "meaning"], rows, [2]))


def _marginals(weighed: Weighed) -> Html:
    names, draws, again = list(weighed.columns), weighed.draws, weighed.resampled
    shown = range(min(SHOWN, len(names)))
    drawn = [
        figure(
            marginal_histogram(again[:, place], draws[:, place], names[place], SIDES),
            f"Histograms of {names[place]}: weighted draws have median {number(float(np.median(again[:, place])))}, "
            f"draws of the flow {number(float(np.median(draws[:, place])))}",
        )
        for place in shown
    ]
    cut = f" Of {len(names)} columns, the first {SHOWN} are shown." if len(names) > SHOWN else ""
    parts = [
        paragraphs(
            f"Shown are {len(draws):,} draws of the flow, and the same draws by their weights. If the flow is right, "
            f"both agree.{cut} An axis leaves out 0.4 % of all values."
        ),
        figures(drawn),
        _moments(weighed, shown),
    ]
    if len(names) > 1:
        parts += [element("h3", "Pairs of columns"), paragraphs("Darker is denser."), figures(_pairs(weighed))]
    return join(*parts)


def _moments(weighed: Weighed, shown: Sequence[int]) -> Html:
    rows = []
    for place in shown:
        values, name = weighed.draws[:, place], weighed.columns[place]
        for side, weights in (("weighted", weighed.weights), ("flow", np.full(len(values), 1 / len(values)))):
            mean = weights @ values
            deviation = float(np.sqrt(weights @ (values - mean) ** 2))
            measures = [mean, deviation, *_quantiles(values, weights)]
            rows.append((name, side, *numbers_like(map(float, measures), float(values.std()))))
    heads = ["column", "draws", "mean", "std. deviation", *(f"{100 * level:g} %" for level in LEVELS)]
    return table("Means, standard deviations and quantiles", heads, rows, words=[1])


def _quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    places = np.searchsorted(np.cumsum(weights[order]), LEVELS)
    return values[order][np.minimum(places, len(values) - 1)]


def _pairs(weighed: Weighed) -> list[Html]:
    names, draws, again = weighed.columns, weighed.draws, weighed.resampled
    return [
        figure(
            pair_densities(again[:, [a, b]], draws[:, [a, b]], [names[a], names[b]], SIDES),
            f"Joint densities of {names[a]} and {names[b]}, of weighted draws and of draws of the flow",
        )
        for a, b in combinations(most_dependent(draws, PAIRED), 2)
    ]
