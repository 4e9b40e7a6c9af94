"""The command executes and reports real notebooks, and notices manual changes."""

import base64
import json
import re
from pathlib import Path

import nbformat
import psutil
import pytest
from reproduce import main
from reproduction.notebooks import gather

from flowlab.claims import load_ledger
from flowlab.claims.ledger import LedgerError

CELLS = [
    "%matplotlib inline\nfrom matplotlib.figure import Figure\nfrom flowlab import claims",
    'claims.check("K3", directly=-2.9389886, by_the_bijector=-2.9389886)',
    'figure = Figure()\nfigure.subplots().plot([0, 1])\nclaims.show("FK2", figure, {"line": [0.0, 1.0]})',
]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A repository with one notebook after the command has run, and its exit status."""
    root = tmp_path_factory.mktemp("repository")
    (root / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS])
    nbformat.write(notebook, root / "notebooks" / "02_bijectors.ipynb")
    return root, main([], root)


@pytest.fixture
def repository(executed, tmp_path):
    """A repository whose executed notebook is committed."""
    (tmp_path / "notebooks").mkdir()
    for name, place in (("02_bijectors.ipynb", "report/notebooks"), ("REPRODUCTION.md", "report")):
        to = tmp_path / "notebooks" / name if name.endswith("ipynb") else tmp_path / name
        to.write_bytes((executed[0] / place / name).read_bytes())
    return tmp_path


def change(root, old, new, name="notebooks/02_bijectors.ipynb"):
    text = (root / name).read_text(encoding="utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new, 1), encoding="utf-8")


def problems(root):
    return gather(sorted((root / "notebooks").glob("*.ipynb"))).problems


def test_missing_claims_are_counted_and_are_an_error(executed, capsys):
    root, status = executed
    assert status == 1
    assert main(["--report", str(root / "again")], root) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == (
        "claims: 1 hold, 0 hold with erratum, 0 refuted, 47 missing; figures: 1 of 20"
    )
    assert "J11: is missing; add it to 08_saturating_nonlinearities" in printed.err
    assert "executed 02_bijectors.ipynb in" in printed.out


def test_the_page_needs_no_other_file(executed):
    page = (executed[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)|@import|url\(""", page)
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    for word in (
        *load_ledger().claims,
        *load_ledger().figures,
        "-2.938989",
        "02_bijectors, cell 2",
        "by_the_bijector=",
    ):
        assert word in page


def test_the_table_has_every_claim_and_figure_and_no_local_path(executed):
    text = (executed[0] / "report" / "REPRODUCTION.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    first = {row.split(" | ")[0].strip("| ") for row in rows}
    assert set(load_ledger().claims) | set(load_ledger().figures) <= first
    assert str(executed[0]) not in text
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) in (4, 9), row


def test_a_committed_repository_agrees(repository, capsys):
    main(["--check"], repository)
    printed = capsys.readouterr()
    assert "REPRODUCTION.md" not in printed.err
    assert printed.out.splitlines()[-1].startswith("claims: 1 hold")
    assert not [problem for problem in problems(repository) if "is missing" not in problem]


def test_an_edited_table_is_noticed(repository, capsys):
    change(repository, "-2.938989", "-2.938988", "REPRODUCTION.md")
    main(["--check"], repository)
    assert "REPRODUCTION.md differs from the notebooks" in capsys.readouterr().err


def test_an_edited_printed_number_is_noticed(repository):
    change(repository, "ours -2.938989", "ours -2.938988")
    assert any(
        "K3: 02_bijectors, cell 2 printed a text that differs from the present ledger" in each
        for each in problems(repository)
    )


def test_a_recorded_value_is_checked_again(repository):
    change(repository, "-2.9389886", "-2.9")
    assert any("K3: is refuted; the ledger expects holds" in each for each in problems(repository))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("03_other.ipynb", "K3: is recorded 2 times: 02_bijectors, cell 2; 03_other, cell 2; keep one"),
        ("01_other.ipynb", "FK2: is recorded 2 times: 01_other, cell 3; 02_bijectors, cell 3; keep one"),
    ],
)
def test_a_duplicate_record_is_noticed(repository, name, message):
    notebook = repository / "notebooks" / "02_bijectors.ipynb"
    notebook.with_name(name).write_bytes(notebook.read_bytes())
    assert message in problems(repository)


def test_a_record_in_the_wrong_notebook_is_noticed(repository):
    notebook = repository / "notebooks" / "02_bijectors.ipynb"
    notebook.rename(notebook.with_name("03_other.ipynb"))
    assert "K3: is in 03_other, cell 2; move it to 02_bijectors" in problems(repository)


def test_a_stripped_picture_is_noticed(repository):
    path = repository / "notebooks" / "02_bijectors.ipynb"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["cells"][2]["outputs"][0]["data"]["image/png"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert "02_bijectors, cell 3: FK2 has no picture; execute the notebook again" in problems(repository)


def test_a_failing_notebook_is_named_and_the_others_are_read(repository, capsys):
    """Records before the failure do not count. The report also names a dead kernel and a damaged file."""
    notebooks = repository / "notebooks"
    broken = json.loads((notebooks / "02_bijectors.ipynb").read_text(encoding="utf-8"))
    broken["cells"][0]["source"] = "1 / 0"
    (notebooks / "01_broken.ipynb").write_text(json.dumps(broken), encoding="utf-8")
    dies = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import os\nos._exit(1)")])
    nbformat.write(dies, notebooks / "03_dies.ipynb")
    (notebooks / "04_garbage.ipynb").write_text("garbage", encoding="utf-8")
    before = (repository / "REPRODUCTION.md").read_bytes()
    assert main([], repository) == 1
    printed = capsys.readouterr()
    assert "01_broken, cell 1: ZeroDivisionError: division by zero" in printed.err
    assert "03_dies.ipynb: cannot be executed: DeadKernelError" in printed.err
    assert "04_garbage.ipynb: cannot be executed:" in printed.err
    assert printed.out.splitlines()[-1].startswith("claims: 1 hold")
    assert "2 times" not in printed.err
    assert (repository / "REPRODUCTION.md").read_bytes() == before


def test_kernels_leave_no_process_and_no_file(repository):
    before = set(psutil.Process().children(recursive=True))
    main([], repository)
    assert set(psutil.Process().children(recursive=True)) <= before
    left = {path.name for path in (*repository.iterdir(), *(repository / "notebooks").iterdir())}
    assert left == {"notebooks", "report", "REPRODUCTION.md", "02_bijectors.ipynb"}


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"cells": 5}', '{"cells": [{"cell_type": "code"}], "metadata": {}, "nbformat": 4}']
)
def test_a_file_that_is_not_a_notebook_is_refused(tmp_path, content):
    (tmp_path / "x.ipynb").write_text(content, encoding="utf-8")
    with pytest.raises(LedgerError, match=r"x\.ipynb: is not a notebook"):
        gather([tmp_path / "x.ipynb"])


def test_a_mistake_is_answered_without_a_traceback(repository, tmp_path_factory, capsys):
    file = repository / "file"
    file.write_text("")
    assert main(["--report", str(file)], repository) == 2
    assert f"{file}: cannot be written" in capsys.readouterr().err.replace("/notebooks", "")
    empty = tmp_path_factory.mktemp("empty")
    for root, words, message in (
        (repository, ["--at-once", "0"], "--at-once 0: must be at least 1"),
        (empty, ["--check"], "has no notebook"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(words, root)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


def test_the_committed_page_leads_with_what_does_not_hold():
    page = (Path(__file__).parents[2] / "REPRODUCTION.md").read_text(encoding="utf-8")
    leading = page.split("## How to read the tables")[0]
    expected = {id for id, claim in load_ledger().claims.items() if claim.erratum or claim.refutation}
    assert set(re.findall(r"^- \*\*(\w+), (?:refuted|erratum)\*\*", leading, re.MULTILINE)) == expected
    assert leading.index(", refuted**") < leading.index(", erratum**")
