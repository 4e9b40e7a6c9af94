"""The report: what the notebooks found, as one self-contained page and as the committed table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowlab.claims.ledger import ERRATUM, HOLDS, REFUTED, load_ledger
from flowlab.claims.notebooks import Findings, FoundCheck

TEMPLATES = Path(__file__).parent / "templates"
TITLES = {
    "Jang": "Normalizing Flows Tutorial, Part 1: Distributions and Determinants (Eric Jang, 2018)",
    "Keydana": "Getting into the flow: Bijectors in TensorFlow Probability (Sigrid Keydana, 2019)",
}
MISSING = "missing"


def page(findings: Findings, origin: dict[str, Any], seconds: float) -> str:
    """The report as one HTML page that needs no other file.

    Arguments:
        findings: of executed notebooks.
        origin: from `flowlab.runs.provenance.origin`.
        seconds: that executing the notebooks took.
    """
    return _render("report.html", findings, origin=origin, seconds=seconds)


def table(findings: Findings) -> str:
    """The report as Markdown, without pictures and without anything that differs between machines."""
    return _render("reproduction.md", findings)


def _render(template: str, findings: Findings, **more: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", r"\|")  # of a Markdown table
    return environment.get_template(template).render(
        claims=_claims(findings), figures=_figures(findings), titles=TITLES, last_line=findings.last_line(), **more
    )


def _claims(findings: Findings) -> list[dict[str, Any]]:
    """Every claim of the ledger with what was found of it, document by document."""
    rows = []
    for id, claim in _by_document(load_ledger().claims):
        found = findings.checks.get(id)
        rows.append(
            {
                "claim": claim,
                "verdict": found.check.verdict if found else MISSING,
                "mark": {HOLDS: "holds", ERRATUM: "erratum", REFUTED: "refuted"}.get(
                    found.check.verdict if found else MISSING, "missing"
                ),
                "quantities": _quantities(found) if found else [],
                "cell": found.cell if found else None,
            }
        )
    return rows


def _quantities(found: FoundCheck) -> list[dict[str, Any]]:
    return [
        {
            "name": each.quantity.name.replace("_", " "),
            "reference": each.reference(),
            "ours": each.ours(),
            "tolerance": each.quantity.rule(),
            "holds": each.holds,
        }
        for each in found.check.measured
    ]


def _figures(findings: Findings) -> list[dict[str, Any]]:
    entries = _by_document(load_ledger().figures)
    return [{"entry": entry, "found": findings.figures.get(id)} for id, entry in entries]


def _by_document(entries: dict[str, Any]) -> list[tuple[str, Any]]:
    """Entries of the document read last come last; within one by their numbers."""
    return sorted(entries.items(), key=lambda item: (item[1].document, _number(item[0]), item[0]))


def _number(id: str) -> int:
    return int("".join(letter for letter in id if letter.isdigit()))
