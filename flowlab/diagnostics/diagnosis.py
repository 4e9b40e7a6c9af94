"""The result of `flowlab.diagnose`: numbers, a table in words, and warnings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flowlab.diagnostics.importance import Estimate
from flowlab.diagnostics.modes import ModeCoverage
from flowlab.diagnostics.pareto import INFINITE_VARIANCE, LARGEST_K, largest_k, least_draws
from flowlab.diagnostics.tails import Tail

FAR_BELOW = 0.5  # a forward ESS below this part of the reverse one
WIDE = 1.0  # nats: a bracket on log Z
MANY = 10_000_000  # draws: more are out of reach


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """How well a flow q approximates a target p with the unnormalized density p~; printing it gives a table.

    Attributes:
        draws, samples: how many draws of the flow and samples of the target there are.
        elbo, eubo: bounds on log Z in nats, each with its standard error; eubo is None without samples.
        log_z: log Z in nats by importance sampling, with its standard error.
        ess, forward_ess: effective sample sizes as fractions, from draws and from samples (None without).
        pareto_k, forward_pareto_k: the tail index of the weights of draws, and of samples (None without).
        outside: fractions of the draws where the target has density 0, and of the samples where the flow has.
        tails: the level sets of the flow, and the worst tail of a coordinate; empty without samples.
        modes: the mass per mode; None without centres.
    """

    draws: int
    samples: int
    elbo: Estimate
    eubo: Estimate | None
    log_z: Estimate
    ess: float
    forward_ess: float | None
    pareto_k: float
    forward_pareto_k: float | None
    outside: tuple[float, float]
    tails: tuple[Tail, ...] = ()
    modes: ModeCoverage | None = None

    @property
    def gap(self) -> float | None:
        """EUBO - ELBO = KL(q || p) + KL(p || q) in nats; None without samples."""
        return None if self.eubo is None else self.eubo.value - self.elbo.value

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the flow or the estimates, each with what to do; empty if there are none."""
        return (*_warn_of_weights(self), *_warn_of_bounds(self), *_warn_of_coverage(self))

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The name, the value and the meaning of each row of the table."""
        return _rows(self)

    def __repr__(self) -> str:
        lines = [f"{name:<34}{value:>18}  {meaning}".rstrip() for name, value, meaning in self.rows]
        warnings = [f"warning: {each}" for each in self.warnings] or ["no warnings"]
        return "\n".join([*lines, "", *warnings])


def _rows(found: Diagnosis) -> list[tuple[str, str, str]]:
    rows = [("ELBO, a lower bound on log Z", _with_error(found.elbo), "nats, from draws of the flow")]
    rows.append(("log Z by importance sampling", _with_error(found.log_z), "nats, from the same draws"))
    if found.eubo is not None:
        rows.append(("EUBO, an upper bound on log Z", _with_error(found.eubo), "nats, from samples of the target"))
        rows.append(("EUBO - ELBO", f"{found.gap:.4g}", "nats, KL(q || p) + KL(p || q)"))
    rows.append(("effective sample size", f"{_percent(found.ess)}", f"of {found.draws} draws"))
    rows.append(("Pareto k of the weights", f"{found.pareto_k:.2f}", f"good below {largest_k(found.draws):.2f}"))
    if found.forward_ess is not None and found.forward_pareto_k is not None:
        rows.append(("forward effective sample size", f"{_percent(found.forward_ess)}", "from samples of the target"))
        rows.append(("forward Pareto k", f"{found.forward_pareto_k:.2f}", "the mean weight is finite below 1"))
    for tail in found.tails:
        meaning = f"of {found.samples} samples; of the flow {_percent(tail.nominal)}"
        rows.append((tail.place, f"{_percent(tail.observed)}", meaning))
    if found.modes is not None:
        rows.append(
            ("modes found", f"{len(found.modes.flow) - len(found.modes.missing)}", _describe_modes(found.modes))
        )
    return rows


def _with_error(estimate: Estimate) -> str:
    value, error = estimate
    return f"{value:.3f} +- {error:.3f}" if abs(value) < 1e6 else f"{value:.2g} +- {error:.2g}"


def _percent(share: float) -> str:
    return "< 0.001 %" if 0 < share < 1e-5 else f"{100 * share:.3g} %"


def _describe_modes(modes: ModeCoverage) -> str:
    flow, target = (" ".join(f"{100 * share:.0f}" for share in each) for each in (modes.flow, modes.target))
    return f"of {len(modes.flow)}; mass in %: flow {flow}, target {target}"


def _warn_of_weights(found: Diagnosis) -> list[str]:
    k, draws, needed = found.pareto_k, found.draws, least_draws(found.pareto_k)
    cannot = "do not trust log Z and the effective sample size"
    remedy = "train the flow for longer, or use one with heavier tails (flow.base=student_t)"
    if math.isnan(k):
        return [f"draws={draws}: too few to judge the weights, so {cannot}; use draws=1000 or more"]
    if k > largest_k(draws) and k <= LARGEST_K and needed <= MANY:
        return [f"Pareto k = {k:.2f} needs {needed:.0f} draws, and there are {draws}: {cannot}; use draws={needed:.0f}"]
    if k > largest_k(draws):
        enough = "no number of draws suffices" if needed > MANY else f"even {needed:.0f} draws may be too few"
        return [f"Pareto k = {k:.2f}: a few draws have most of the weight, and {enough}: {cannot}; {remedy}"]
    if k > INFINITE_VARIANCE:
        return [
            f"Pareto k = {k:.2f} is above {INFINITE_VARIANCE}: the weights may have no finite variance, so the "
            f"effective sample size and the error of log Z may look better than they are; {remedy}"
        ]
    return []


def _warn_of_bounds(found: Diagnosis) -> list[str]:
    warnings = []
    of_draws, of_samples = found.outside
    if of_draws:
        warnings.append(
            f"{_percent(of_draws)} of the draws lie where the target has density 0, so the ELBO is -inf; "
            "give the flow the support of the target"
        )
    if of_samples:
        warnings.append(
            f"{_percent(of_samples)} of the samples lie where the flow has density 0, so the EUBO is inf; "
            "give the flow the support of the target"
        )
    if found.eubo is None or found.gap is None or not math.isfinite(found.gap):
        return warnings
    if found.gap < -3 * math.hypot(found.elbo.error, found.eubo.error):
        warnings.append("ELBO above EUBO: the samples and the density belong to different targets; check both")
    elif found.gap > WIDE:
        warnings.append(f"the bracket on log Z is {found.gap:.3g} nats wide: the flow is a poor approximation")
    return warnings


def _warn_of_coverage(found: Diagnosis) -> list[str]:
    warnings = []
    if found.forward_ess is not None and found.forward_ess < FAR_BELOW * found.ess:
        warnings.append(
            f"the forward effective sample size is {_percent(found.forward_ess)}, and the reverse one "
            f"{_percent(found.ess)}: the flow misses a part of the target, which its own draws cannot show"
        )
    if found.forward_pareto_k is not None and found.forward_pareto_k > LARGEST_K:
        warnings.append(
            f"forward Pareto k = {found.forward_pareto_k:.2f}: a few samples of the target have weights far above the "
            "rest; the flow is too light there"
        )
    wrong = [tail for tail in found.tails if tail.is_wrong]
    if wrong:
        worst = max(wrong, key=lambda tail: abs(math.log((tail.observed or 1 / (2 * found.samples)) / tail.nominal)))
        kind = "light" if worst.observed > worst.nominal else "heavy"
        warnings.append(
            f"the tails are too {kind}: {_percent(worst.observed)} of the samples lie {worst.place}, where the flow "
            f"has {_percent(worst.nominal)} of its mass"
        )
    if found.modes is not None and found.modes.missing:
        numbers = ", ".join(map(str, found.modes.missing))
        warnings.append(
            f"the flow has little or no mass at mode {numbers}; train by objective=maximum_likelihood on samples, or "
            "from a wider start"
        )
    return warnings
