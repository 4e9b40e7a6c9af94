"""Committed notebooks were executed in order, without errors or warnings, and have their pictures.

nbval compares the text of each cell with a fresh run. It accepts a notebook without outputs and ignores pictures; these
tests close both gaps.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from flowlab.claims import load_ledger

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


def texts(output):
    yield "".join(output.get("text", ""))
    yield from ("".join(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_every_claim_and_figure_is_in_one_notebook_and_as_the_ledger_expects():
    """`experiments/reproduce.py --check` finds each once, in its notebook, and REPRODUCTION.md agrees."""
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "reproduce.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts = [int(number) for number in re.findall(r"\d+", done.stdout.splitlines()[-1])]
    hold, erratum, refuted, missing, figures, of = counts
    ledger = load_ledger()
    assert (hold + erratum + refuted, missing) == (len(ledger.claims), 0)
    assert figures == of == len(ledger.figures) > 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_were_executed_in_order_without_errors(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", "".join(output["text"])
            for text in texts(output):
                assert not re.search(r"/(home|root|tmp|work|Users)/", text), f"a local path: {text}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_is_present_and_has_a_fingerprint(path):
    """nbval ignores pictures, so the data behind a picture are rounded numbers in print or in its text version."""
    figures = 0
    for cell in code_cells(path):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            figures += 1
            printed = "".join(text for output in cell["outputs"] for text in texts(output))
            assert "fingerprint" in printed, f"no fingerprint after the figure of: {''.join(cell['source'])[:80]}"
    assert figures


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_is_exempt_from_nbval(path):
    """nbval would skip a marked cell."""
    for cell in code_cells(path):
        assert "NBVAL" not in "".join(cell["source"]).upper()
        assert not cell["metadata"].get("tags")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_copied_notebook_finds_its_files(path):
    for cell in code_cells(path):
        source = "".join(cell["source"])
        assert "../" not in source, "a path that depends on the notebook's directory"
        assert "__file__" not in source, "a path that depends on a clone; claims.load_record loads recorded results"


# The first two notebooks print a number early, so their test is fast.
@pytest.mark.parametrize("path", NOTEBOOKS[:2], ids=lambda path: path.stem)
def test_wrong_number_makes_nbval_fail(path, tmp_path):
    """nbval fails on a notebook whose first printed number is changed."""
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = []
    for cell in content["cells"]:
        kept.append(cell)
        streams = [output for output in cell.get("outputs", []) if output.get("name") == "stdout"]
        if streams and re.search(r"\d\.\d", "".join(streams[0]["text"])):
            text = "".join(streams[0]["text"])
            streams[0]["text"] = re.sub(
                r"(\d\.)(\d)", lambda match: match[1] + str((int(match[2]) + 1) % 10), text, count=1
            )
            break
    content["cells"] = kept
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "lesson_figures").symlink_to(path.parent / "lesson_figures")
    damaged = tmp_path / "notebooks" / path.name
    damaged.write_text(json.dumps(content), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, "--rootdir", tmp_path, damaged], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "mismatch" in done.stdout


def test_a_lesson_runs_alone_in_an_empty_directory(tmp_path):
    """As with an installed flowlab, whose wheel has the records and `lesson_figures`; lesson 03 needs both."""
    lesson = next(path for path in NOTEBOOKS if path.stem.startswith("03"))
    notebook = nbformat.read(lesson, as_version=4)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "notebooks")))})
    printed = "".join(text for cell in notebook.cells for output in cell.get("outputs", []) for text in texts(output))
    assert "K8 holds" in printed
    assert "J10 holds" in printed
    assert not list(tmp_path.iterdir()), "a lesson leaves no file behind"
