"""The page: sections in the order in which a reader asks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import numpy as np

from flowlab.plotting.report import likelihood_dots, marginal_histogram
from flowlab.report.comparisons import compare_ranks, compare_rows, note_contexts
from flowlab.report.findings import Finding, Measured, find, sum_up
from flowlab.report.html import Html, document, element, figure, join, nats, paragraphs, percent, table
from flowlab.report.likelihood import Score
from flowlab.report.record import Record, versions
from flowlab.report.terms import TERMS

LEVELS = (0.001, 0.01, 0.25, 0.5, 0.75, 0.99)  # levels of the quantiles of log densities


def build_page(measured: Measured, record: Record, command: Sequence[str]) -> str:
    """The whole page as HTML; equal arguments give equal text.

    Arguments:
        measured: what is measured of the flow.
        record: facts about its run.
        command: the words that make the page.
    """
    findings = find(measured, record)
    sections = {
        "warnings": ("Warnings", list_findings(findings)),
        "likelihood": ("Held-out likelihood", _likelihood(measured)),
        "rows": ("Real and generated rows", compare_rows(measured)),
        "ranks": ("Ranks and tails", compare_ranks(measured)),
        "density": ("Log densities", _densities(measured)),
        "c2st": ("Can a classifier tell?", _two_samples(measured)),
        "origin": ("How this page was made", describe_origin(record, command)),
        "terms": ("Terms", describe_terms(TERMS)),
    }
    return document(f"Report on {record.name}", sum_up(measured), _facts(measured, record), sections)


def _facts(measured: Measured, record: Record) -> dict[str, object]:
    subject = measured.subject
    sizes = subject.sizes()
    drawn = "drawn afresh, as many as needed"
    known = ", ".join(f"{count:,} {split}" for split, count in sizes.items() if count is not None) or drawn
    given = f", given {subject.context_size} more" if subject.context_size else ""
    return {"Data": record.data, "Rows": known, "Columns": f"{len(subject.columns)}{given}"} | record.facts()


def list_findings(findings: Sequence[Finding]) -> Html:
    """The findings as a list; it begins with a sentence of its own if there is no warning."""
    if not any(finding.is_warning for finding in findings):
        findings = [Finding(False, "No check of this report speaks against the flow."), *findings]
    items = (
        element("li", element("strong", "Warning. "), finding.text, class_="warning")
        if finding.is_warning
        else element("li", finding.text)
        for finding in findings
    )
    return element("ul", *items, class_="findings")


def _likelihood(measured: Measured) -> Html:
    scores, subject = measured.scores, measured.subject
    rows = [_score_cells(score, is_flow=score is scores[0]) for score in scores]
    given = " given its context" if subject.context_size else ""
    picture = figure(
        likelihood_dots([s.title for s in scores], [s.mean for s in scores], [s.error for s in scores]),
        "Mean log likelihoods: " + ", ".join(f"{score.title} {nats(score.mean)}" for score in scores) + " nats per row",
        "Dots are means, bars two standard errors.",
    )
    heads = ["model", "mean", "std. error", "flow minus model", "std. error", "training rows", "settings"]
    return join(
        paragraphs(
            "Every model learned from the same training rows, or from an evenly spaced part of them. All are scored "
            f"on the same {len(subject.test.x):,} test rows{_part(measured)}. Densities are in the units of the data. "
            f"The log likelihood of a row{given} is in nats; higher is better."
        ),
        table("Mean log likelihood of test rows, in nats per row", heads, rows, words=[6]),
        element("div", picture, class_="alone"),
    )


def _score_cells(score: Score, is_flow: bool) -> list[str]:
    lead = ["", ""] if is_flow else [nats(score.lead), nats(score.lead_error)]
    rows = "" if score.rows is None else f"{score.rows:,}"
    return [score.title, nats(score.mean), nats(score.error), *lead, rows, score.note]


def _part(measured: Measured) -> str:
    """A remark on test rows that are left out or drawn."""
    whole, used = measured.subject.sizes()["test"], len(measured.subject.test.x)
    if measured.subject.target.row_weights("test") is not None:
        return ", drawn by their weights"
    return f" of {whole:,}" if whole is not None and whole > used else ""


def _densities(measured: Measured) -> Html:
    kept, made = (values[np.isfinite(values)] for values in measured.log_densities)
    if not (len(kept) and len(made)):
        return paragraphs("All densities of real rows, or of generated rows, are 0 or infinite.")
    distance, _ = measured.log_density_distance
    medians = [nats(float(np.median(side)), 2) for side in (kept, made)]
    picture = figure(
        marginal_histogram(kept, made, "log density in nats"),
        f"Histograms of log densities: median {medians[0]} for real and {medians[1]} for generated rows",
    )
    rows = [
        (name, *(nats(float(value), 2) for value in np.quantile(values, LEVELS)))
        for name, values in (("real", kept), ("generated", made))
    ]
    heads = ["rows", *(f"{100 * level:g} %" for level in LEVELS)]
    return join(
        paragraphs(
            "If the flow is right, its log densities of real test rows and of its own rows have one distribution. Real "
            "rows with lower ones lie where the flow expects hardly any. The distance of the two distributions (KS) is "
            f"{distance:.3f}."
        ),
        element("div", picture, class_="alone"),
        table("Quantiles of the log density, in nats", heads, rows),
    )


def _two_samples(measured: Measured) -> Html:
    test = measured.two_samples
    if test is None:
        return paragraphs("There are too few test rows to train a classifier.")
    return paragraphs(
        join(
            "Accuracy: ",
            element("strong", percent(test.accuracy, 1)),
            f" ({percent(test.low, 1)} to {percent(test.high, 1)} with a confidence of 95 %); 50 % is perfect.",
        ),
        f"A gradient-boosted classifier learned to tell {test.rows:,} real test rows from {test.rows:,} generated "
        f"rows{note_contexts(measured)}. It is scikit-learn's HistGradientBoostingClassifier with its defaults. Each "
        "row was classified by a model that was trained on the other four fifths of the rows. The interval is "
        "Wilson's for independent rows. The five models share training rows, so it is a little too narrow.",
    )


def describe_origin(record: Record, command: Sequence[str]) -> Html:
    """The commands, versions and settings behind a page."""
    settings = table("Settings of the run", ["key", "value"], record.settings.items(), words=[1])
    commands = {
        "This command makes the page; equal seeds and versions give equal bytes:": command,
        "The flow was trained by:": record.command,
    }
    return join(
        *(join(paragraphs(said), element("pre", shlex.join(words))) for said, words in commands.items() if words),
        paragraphs("Versions: " + ", ".join(f"{name} {version}" for name, version in versions().items()) + "."),
        element("details", element("summary", "Settings of the run"), settings),
    )


def describe_terms(terms: Mapping[str, str]) -> Html:
    """Words, each with its explanation."""
    pairs = (join(element("dt", name), element("dd", said)) for name, said in terms.items())
    return element("dl", *pairs, class_="terms")
