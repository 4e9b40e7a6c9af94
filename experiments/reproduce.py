"""Reproduce Jang's tutorial and Keydana's post: `python experiments/reproduce.py`; `--check` only reads notebooks.

Exit status: 0 if every claim and figure is present and agrees with the ledger, 1 if one is missing or differs, 2 for a
user's mistake.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from reproduction.execute import execute
from reproduction.notebooks import Findings, gather
from reproduction.report import page, table
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flowlab.claims.ledger import LedgerError
from flowlab.system.files import write_text
from flowlab.system.process import origin

ROOT = Path(__file__).resolve().parent.parent
TABLE = "REPRODUCTION.md"
AGREES, DIFFERS, MISTAKE = 0, 1, 2


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run a command line, given without the program's name, and return the exit status."""
    parser = argparse.ArgumentParser("reproduce.py", description="Execute every notebook, check every claim, report.")
    parser.add_argument(
        "--check", action="store_true", help=f"only read the committed notebooks and compare {TABLE} with them"
    )
    parser.add_argument("--report", metavar="DIR", type=Path, default=root / "report", help="default: report")
    parser.add_argument("--at-once", metavar="N", type=int, default=os.cpu_count() or 1, help="notebooks at a time")
    options = parser.parse_args(arguments)
    if options.at_once < 1:
        parser.error(f"--at-once {options.at_once}: must be at least 1")
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    if not notebooks:
        parser.error(f"{root / 'notebooks'}: has no notebook")
    try:
        findings = _check(root, notebooks) if options.check else _reproduce(root, notebooks, options)
    except LedgerError as error:
        print(f"flowlab: {error}", file=sys.stderr)
        return DIFFERS
    except ModuleNotFoundError as error:
        print(f"flowlab: {error}; run pip install '.[notebooks]' in a clone of flowlab", file=sys.stderr)
        return MISTAKE
    except OSError as error:
        print(f"flowlab: {error.filename}: cannot be written: {error.strerror}", file=sys.stderr)
        return MISTAKE
    for problem in findings.problems:
        print(problem, file=sys.stderr)
    print(findings.last_line())
    return DIFFERS if findings.problems else AGREES


def _check(root: Path, notebooks: Sequence[Path]) -> Findings:
    findings = gather(notebooks)
    _print_verdicts(findings)
    kept = (root / TABLE).read_text(encoding="utf-8") if (root / TABLE).is_file() else ""
    changes = list(
        difflib.unified_diff(kept.splitlines(), table(findings).splitlines(), TABLE, "notebooks", "", "", 0, "")
    )
    if changes:
        findings.problems.append(
            "\n".join([f"{TABLE} differs from the notebooks; write it by make reproduce:", *changes])
        )
    return findings


def _reproduce(root: Path, notebooks: Sequence[Path], options: argparse.Namespace) -> Findings:
    start = time.perf_counter()

    def report(path: Path, seconds: float) -> None:
        print(f"executed {path.name} in {seconds:.0f} s", flush=True)

    executed = options.report / "notebooks"
    problems = execute(notebooks, executed, options.at_once, report)
    findings = gather(sorted(executed / path.name for path in notebooks if (executed / path.name).is_file()))
    findings.problems[:0] = problems
    _print_verdicts(findings)
    written = {
        options.report / "index.html": page(findings, origin(), time.perf_counter() - start),
        options.report / TABLE: table(findings),
    }
    if not findings.problems:  # an incomplete table does not replace the committed one
        written[root / TABLE] = table(findings)
    for path, text in written.items():
        write_text(path, text)
        print(f"wrote {os.path.relpath(path)}")
    return findings


def _print_verdicts(findings: Findings) -> None:
    """Print the verdicts as a table."""
    rich = Table(box=SIMPLE_HEAD)
    for name in ("claim", "author", "verdict", "shown in"):
        rich.add_column(name)
    for id, found in findings.checks.items():
        rich.add_row(id, found.check.claim.document, found.check.verdict, str(found.cell))
    Console(markup=False, emoji=False, highlight=False).print(rich)


if __name__ == "__main__":
    sys.exit(main())
