"""The notebooks as pages: copies whose links lead to pages of the site, and the map of the course."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pages import table

ROOT = Path(__file__).parents[2]
GITHUB = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+)/blob/([\w.-]+)$")
FACT = re.compile(r"^\*\*(Question|Prerequisites|Time)\.?\*\*:?\.? *(.*)$", re.MULTILINE)


def lesson_pages(address: str) -> dict[str, str | bytes]:
    """Each notebook by the name of its file, with links that hold on the site.

    Arguments:
        address: where the repository's files are, to which links out of the notebooks' folder lead.
    """
    pages: dict[str, str | bytes] = {}
    for path, notebook in _notebooks():
        for cell in notebook["cells"]:
            cell["metadata"].pop("execution", None)  # times, which change although nothing else does
            if cell["cell_type"] == "markdown":
                cell["source"] = "".join(cell["source"]).replace("](../", f"]({address}/")
            else:
                cell["outputs"] = [each for each in cell.get("outputs", []) if not _is_widget(each)]
                if cell["metadata"].get("jupyter", {}).get("source_hidden"):  # folded, as a solution is in Jupyter
                    cell["metadata"].setdefault("tags", []).append("hide-cell")
        notebook["metadata"].pop("widgets", None)
        pages[path.name] = json.dumps(notebook, indent=1)
    return pages


def course_map(address: str = "") -> str:
    """A table of the lessons in their order: question, prerequisites and time, as each notebook states them.

    Arguments:
        address: the address of the repository's files; on GitHub each lesson has links to Colab and Binder.
    """
    header, rows = ["lesson", "question", "prerequisites", "time"], [_row(*each) for each in _notebooks()]
    if GITHUB.match(address):
        header.append("run")
        for row, (path, _) in zip(rows, _notebooks(), strict=True):
            row.append(_run_links(address, path.name))
    return table(header, rows)


def _run_links(address: str, name: str) -> str:
    """Return links that open a notebook in Colab and in Binder."""
    owner, repository, branch = GITHUB.match(address).groups()  # type: ignore[union-attr]
    colab = f"https://colab.research.google.com/github/{owner}/{repository}/blob/{branch}/notebooks/{name}"
    binder = f"https://mybinder.org/v2/gh/{owner}/{repository}/{branch}?urlpath=lab/tree/notebooks/{name}"
    return f"[Colab]({colab}), [Binder]({binder})"


def _notebooks() -> list[tuple[Path, dict[str, Any]]]:
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    return [(path, json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def _is_widget(output: dict[str, Any]) -> bool:
    """Whether an output needs a kernel; a picture of the same cell shows what it shows."""
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def _row(path: Path, notebook: dict[str, Any]) -> list[str]:
    """A lesson in the course map: its title, question, prerequisites and time, as the notebook states them."""
    text = "".join(notebook["cells"][0]["source"])
    title = text.splitlines()[0].lstrip("# ")
    facts = {name: said.strip() for name, said in FACT.findall(text)}
    number = path.stem.partition("_")[0]  # such as 09 or 10a
    links = [f"{number} [{title}](tutorials/lessons/{path.name})", facts.get("Question", "")]
    needed = re.sub(r"\]\((\d\d\w+\.ipynb)\)", r"](tutorials/lessons/\1)", facts.get("Prerequisites", ""))
    return [*links, needed, facts.get("Time", "")]
