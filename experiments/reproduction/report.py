"""The report on executed notebooks: a self-contained page, and the committed table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowlab.claims.ledger import ERRATUM, HOLDS, REFUTED, load_ledger
from reproduction.notebooks import Findings, FoundCheck

TEMPLATES = Path(__file__).parent / "templates"
TITLES = {
    "Jang": "Normalizing Flows Tutorial, Part 1: Distributions and Determinants (Eric Jang, 2018)",
    "Keydana": "Getting into the flow: Bijectors in TensorFlow Probability (Sigrid Keydana, 2019)",
    "Rezende": "Variational Inference with Normalizing Flows (Danilo Jimenez Rezende, Shakir Mohamed, 2015)",
}
MISSING = "missing"
MARKS = {HOLDS: "holds", ERRATUM: "erratum", REFUTED: "refuted", MISSING: "missing"}  # CSS classes


def page(findings: Findings, origin: dict[str, Any], seconds: float) -> str:
    """Return the report as one HTML page that needs no other file.

    Arguments:
        findings: the records of executed notebooks.
        origin: the versions and the commit, from `flowlab.system.process.origin`.
        seconds: the time that the notebooks took.
    """
    return _render("report.html", findings, origin=origin, seconds=seconds)


def table(findings: Findings) -> str:
    """Return the report as Markdown, without pictures and without anything that differs between machines."""
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
    environment.filters["cell"] = lambda text: str(text).replace("|", r"\|")  # in a Markdown table
    return environment.get_template(template).render(
        claims=_claim_rows(findings),
        figures=_figure_rows(findings),
        titles=TITLES,
        last_line=findings.last_line(),
        **more,
    )


def _claim_rows(findings: Findings) -> list[dict[str, Any]]:
    """Return every claim of the ledger with its check, Jang's first."""
    rows = []
    for id, claim in _sort_by_author(load_ledger().claims):
        found = findings.checks.get(id)
        verdict = found.check.verdict if found else MISSING
        rows.append(
            {
                "claim": claim,
                "verdict": verdict,
                "mark": MARKS[verdict],
                "quantities": _quantity_rows(found) if found else [],
                "cell": found.cell if found else None,
            }
        )
    return rows


def _quantity_rows(found: FoundCheck) -> list[dict[str, Any]]:
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


def _figure_rows(findings: Findings) -> list[dict[str, Any]]:
    entries = _sort_by_author(load_ledger().figures)
    return [{"entry": entry, "found": findings.figures.get(id)} for id, entry in entries]


def _sort_by_author(entries: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the entries by author, and by number for each author."""
    return sorted(entries.items(), key=lambda item: (item[1].document, _parse_number(item[0]), item[0]))


def _parse_number(id: str) -> int:
    return int("".join(letter for letter in id if letter.isdigit()) or 0)
