"""What executed notebooks recorded: their checks and figures, read back and compared with the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowlab.claims.check import METADATA, Check, from_record
from flowlab.claims.ledger import ERRATUM, HOLDS, REFUTED, FigureEntry, LedgerError, load_ledger


@dataclass(frozen=True)
class Cell:
    """Where something was recorded: the notebook, the number of the cell as executed, and its code."""

    notebook: str
    number: int
    source: str

    def __str__(self) -> str:
        return f"{self.notebook}, cell {self.number}"


@dataclass(frozen=True)
class FoundCheck:
    """A claim as a notebook checked it."""

    check: Check
    cell: Cell


@dataclass(frozen=True)
class FoundFigure:
    """A figure as a notebook drew it: its PNG in base64."""

    entry: FigureEntry
    cell: Cell
    png: str


@dataclass
class Findings:
    """Everything that some notebooks recorded.

    Attributes:
        checks, figures: by id, in the order of the ledger.
        problems: what is missing, twice, in the wrong place, or differs from the ledger; one line each.
    """

    checks: dict[str, FoundCheck] = field(default_factory=dict)
    figures: dict[str, FoundFigure] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    missing: int = 0

    def last_line(self) -> str:
        """The counts of verdicts and figures."""
        verdicts = Counter(found.check.verdict for found in self.checks.values())
        figures = load_ledger().figures
        return (
            f"claims: {verdicts[HOLDS]} hold, {verdicts[ERRATUM]} hold with erratum, {verdicts[REFUTED]} refuted, "
            f"{self.missing} missing; figures: {len(self.figures)} of {len(figures)}"
        )


def gather(notebooks: Iterable[Path]) -> Findings:
    """Read what executed notebooks recorded and compare it with the ledger.

    Every check is judged again from the recorded values: what was printed must be what the ledger says now.

    Raises:
        LedgerError: a file is no notebook.
    """
    ledger = load_ledger()
    findings = Findings()
    checks: list[FoundCheck] = []
    figures: list[FoundFigure] = []
    for path in notebooks:
        for cell, output in _outputs(path, findings.problems):
            recorded = output.get("metadata", {}).get(METADATA, {})
            if "claim" in recorded:
                checks += _found_check(recorded, cell, output, findings.problems)
            if "figure" in recorded:
                figures += _found_figure(recorded, cell, output, findings.problems)
    for id, claim in ledger.claims.items():
        found = [each for each in checks if each.check.claim.id == id]
        _compare(id, claim.notebook, [each.cell for each in found], findings.problems)
        if not found:
            findings.missing += 1
            continue
        findings.checks[id] = found[0]
        if found[0].check.verdict != claim.expected:
            findings.problems.append(f"{id}: is {found[0].check.verdict}, the ledger expects {claim.expected}")
    for id, entry in ledger.figures.items():
        drawn = [each for each in figures if each.entry.id == id]
        _compare(id, entry.notebook, [each.cell for each in drawn], findings.problems)
        if drawn:
            findings.figures[id] = drawn[0]
    return findings


def _outputs(path: Path, problems: list[str]) -> Iterable[tuple[Cell, dict[str, Any]]]:
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # of many kinds
        raise LedgerError(f"{path}: is no notebook: {str(error).splitlines()[0]}") from None
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        where = Cell(path.stem, cell.execution_count or 0, cell.source)
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(f"{where}: {output.ename}: {output.evalue}")
            yield where, output


def _found_check(recorded: dict[str, Any], cell: Cell, output: dict[str, Any], problems: list[str]) -> list[FoundCheck]:
    try:
        check = from_record(recorded)
    except LedgerError as error:
        problems.append(f"{cell}: {error}")
        return []
    printed = "".join(output["data"].get("text/plain", ""))
    if printed != str(check):
        problems.append(f"{check.claim.id}: {cell} printed what the ledger does not say any more: {printed!r}")
    return [FoundCheck(check, cell)]


def _found_figure(
    recorded: dict[str, Any], cell: Cell, output: dict[str, Any], problems: list[str]
) -> list[FoundFigure]:
    png = "".join(output["data"].get("image/png", "")).replace("\n", "")
    if not png:
        problems.append(f"{recorded['figure']}: {cell} holds no picture")
        return []
    try:
        return [FoundFigure(load_ledger().figure(recorded["figure"]), cell, png)]
    except LedgerError as error:
        problems.append(f"{cell}: {error}")
        return []


def _compare(id: str, notebook: str, cells: list[Cell], problems: list[str]) -> None:
    if not cells:
        problems.append(f"{id}: is missing; {notebook} is to have it")
    elif len(cells) > 1:
        problems.append(f"{id}: is there {len(cells)} times: {'; '.join(map(str, cells))}")
    elif cells[0].notebook != notebook:
        problems.append(f"{id}: is in {cells[0]}, but belongs into {notebook}")
