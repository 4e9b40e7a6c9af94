"""Read the checks and figures that executed notebooks recorded, and compare them with the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowlab.claims.check import METADATA, Check, judge
from flowlab.claims.ledger import ERRATUM, HOLDS, REFUTED, FigureEntry, LedgerError, load_ledger


@dataclass(frozen=True)
class Cell:
    """The cell of a record: its notebook, its execution count and its code."""

    notebook: str
    number: int
    source: str

    def __str__(self) -> str:
        return f"{self.notebook}, cell {self.number}"


@dataclass(frozen=True)
class FoundCheck:
    """A check that a notebook recorded."""

    check: Check
    cell: Cell


@dataclass(frozen=True)
class FoundFigure:
    """A figure that a notebook recorded, as PNG in base64."""

    entry: FigureEntry
    cell: Cell
    png: str


@dataclass
class Findings:
    """The records of notebooks.

    Attributes:
        checks, figures: the records by id, in the ledger's order.
        problems: one line for each record that is missing, duplicate, misplaced or different from the ledger.
        missing: the number of claims without a check.
    """

    checks: dict[str, FoundCheck] = field(default_factory=dict)
    figures: dict[str, FoundFigure] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    missing: int = 0

    def last_line(self) -> str:
        """Return the counts of verdicts and figures."""
        verdicts = Counter(found.check.verdict for found in self.checks.values())
        figures = load_ledger().figures
        return (
            f"claims: {verdicts[HOLDS]} hold, {verdicts[ERRATUM]} hold with erratum, {verdicts[REFUTED]} refuted, "
            f"{self.missing} missing; figures: {len(self.figures)} of {len(figures)}"
        )


def gather(notebooks: Iterable[Path]) -> Findings:
    """Read the records of executed notebooks and compare them with the ledger.

    Every check is judged again from the recorded values; the printed text must agree with the present ledger.

    Raises:
        LedgerError: a file is not a notebook.
    """
    ledger = load_ledger()
    findings = Findings()
    checks: list[FoundCheck] = []
    figures: list[FoundFigure] = []
    for path in notebooks:
        for cell, output in _iterate_outputs(path, findings.problems):
            record = output.get("metadata", {}).get(METADATA, {})
            try:
                if "claim" in record:
                    checks.append(_read_check(record, cell, output, findings.problems))
                if "figure" in record:
                    figures.append(_read_figure(record, cell, output))
            except LedgerError as error:
                findings.problems.append(f"{cell}: {error}")
    for id, claim in ledger.claims.items():
        found = [each for each in checks if each.check.claim.id == id]
        _check_place(id, claim.notebook, [each.cell for each in found], findings.problems)
        if not found:
            findings.missing += 1
            continue
        findings.checks[id] = found[0]
        if found[0].check.verdict != claim.expected:
            findings.problems.append(f"{id}: is {found[0].check.verdict}; the ledger expects {claim.expected}")
    for id, entry in ledger.figures.items():
        drawn = [each for each in figures if each.entry.id == id]
        _check_place(id, entry.notebook, [each.cell for each in drawn], findings.problems)
        if drawn:
            findings.figures[id] = drawn[0]
    return findings


def _iterate_outputs(path: Path, problems: list[str]) -> Iterable[tuple[Cell, dict[str, Any]]]:
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises many kinds
        raise LedgerError(f"{path}: is not a notebook: {str(error).splitlines()[0]}") from None
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        where = Cell(path.stem, cell.execution_count or 0, cell.source)
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(f"{where}: {output.ename}: {output.evalue}")
            yield where, output


def _read_check(record: dict[str, Any], cell: Cell, output: dict[str, Any], problems: list[str]) -> FoundCheck:
    check = from_record(record)
    printed = "".join(output["data"].get("text/plain", ""))
    if printed != str(check):
        problems.append(f"{check.claim.id}: {cell} printed a text that differs from the present ledger: {printed!r}")
    return FoundCheck(check, cell)


def _read_figure(record: dict[str, Any], cell: Cell, output: dict[str, Any]) -> FoundFigure:
    png = "".join(output["data"].get("image/png", "")).replace("\n", "")
    if not png:
        raise LedgerError(f"{record['figure']} has no picture; execute the notebook again")
    return FoundFigure(load_ledger().figure(record["figure"]), cell, png)


def _check_place(id: str, notebook: str, cells: list[Cell], problems: list[str]) -> None:
    if not cells:
        problems.append(f"{id}: is missing; add it to {notebook}")
    elif len(cells) > 1:
        problems.append(f"{id}: is recorded {len(cells)} times: {'; '.join(map(str, cells))}; keep one")
    elif cells[0].notebook != notebook:
        problems.append(f"{id}: is in {cells[0]}; move it to {notebook}")


def from_record(record: Mapping[str, Any]) -> Check:
    """Judge a recorded check again by the present ledger.

    Raises:
        LedgerError: the ledger has no such claim, or other quantities.
    """
    values: dict[str, float | Sequence[float]] = {}
    for name, each in record["values"].items():
        numbers = [float(value) for value in each["values"]]
        error = each.get("standard_error")
        values[name] = (numbers[0], float(error)) if error is not None else numbers
    return judge(record["claim"], **values)
