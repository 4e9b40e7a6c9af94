"""flowlab-report: one HTML page about a run, which may be of a table of a stranger."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas
import pytest

from flowlab import compose, train
from flowlab.cli.report import main as report
from flowlab.report import subject

QUICK = ("max_steps=40", "batch_size=64", "flow.depth=1", "trainer.progress=off", "trainer.compile=false")
SIZES = {"GENERATED_ROWS": 2000, "TEST_ROWS": 500, "TRAIN_ROWS": 1000}
HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "img"}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        for name, size in SIZES.items():
            patch.setattr(subject, name, size)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("table")
    x = np.random.default_rng(0).normal(size=(600, 2))
    table = pandas.DataFrame({HOSTILE: x[:, 0], "a & $b$": np.exp(x[:, 0] + x[:, 1])})
    table.to_csv(directory / "rows & more.csv", index=False)
    config = compose("target=file", f"target.path='{directory / 'rows & more.csv'}'", *QUICK)
    return train(config, directory / "run")


@pytest.fixture(scope="module")
def page(run):
    assert report([str(run.directory)]) == 0
    path = run.directory / "report.html"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    return text


class Page(HTMLParser):
    """The elements of a page, with their attributes; every element that opens must close."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_the_page_has_every_part(run, page):
    parsed = Page(page)
    said = " ".join(parsed.text.split())
    for part in (
        "Held-out likelihood", "Gaussian mixture", "kernel density", "Gaussian copula", "Quantiles", "PIT", "C2ST",
        "Terms", "rows & more.csv", f"flowlab-report {run.directory}", "420 train, 90 validation, 90 test",
        "There are 90 test rows", run.provenance["git_commit"][:12],
    ):  # fmt: skip
        assert part in said, part
    flow = re.search(r"this flow(\N{MINUS SIGN}?\d+\.\d{3})(\d+\.\d{3})", parsed.text)
    assert float(flow[1].replace("\N{MINUS SIGN}", "-")) == pytest.approx(-run.result["nll"], abs=1e-3)
    assert float(flow[2]) == pytest.approx(run.result["nll_se"], abs=1e-3)


def test_nothing_of_the_data_is_code(page):
    parsed = Page(page)
    assert not parsed.all("script")
    assert HOSTILE not in page
    assert HOSTILE in parsed.text
    assert "a & $b$" in parsed.text
    assert [each["content"] for each in parsed.all("meta") if "http-equiv" in each] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    ]


def test_the_page_is_self_contained_and_accessible(page):
    parsed = Page(page)
    images = parsed.all("img")
    assert len(images) >= 6
    assert all(each["src"].startswith("data:image/svg+xml;base64,") and each["alt"] for each in images)
    assert all(each["href"].startswith("#") for each in parsed.all("a"))
    assert len(parsed.all("caption")) == len(parsed.all("table")) > 4
    assert all(each["scope"] in ("col", "row") for each in parsed.all("th"))
    identifiers = [each["id"] for _, each in parsed.found if "id" in each]
    assert len(identifiers) == len(set(identifiers))
    assert {each["href"][1:] for each in parsed.all("a")} <= set(identifiers)
    assert "url(" not in page
    assert not re.search(r"https?://", page)


def test_equal_seeds_give_equal_bytes_and_others_do_not(run, page, tmp_path):
    for name, seed in (("same", 0), ("other", 1)):
        assert report([str(run.directory), f"output={tmp_path / name}.html", f"seed={seed}"]) == 0
    assert (tmp_path / "same.html").read_text(encoding="utf-8") == page
    assert (tmp_path / "other.html").read_text(encoding="utf-8") != page


def test_threads_and_hash_seeds_change_no_byte(run, page, tmp_path):
    output, sizes = tmp_path / "page.html", {name: getattr(subject, name) for name in SIZES}
    code = "from flowlab.report import subject; from flowlab.cli.report import main; "
    code += f"vars(subject).update({sizes!r}); main({[str(run.directory), f'output={output}']!r})"
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "2"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert output.read_text(encoding="utf-8") == page


@pytest.mark.parametrize("columns", [1, 3])
def test_a_table_of_another_width(columns, tmp_path):
    x = np.random.default_rng(0).normal(size=(150, columns))
    pandas.DataFrame(x).to_csv(tmp_path / "rows.csv", index=False)
    train(compose("target=file", f"target.path={tmp_path / 'rows.csv'}", *QUICK, "flow.rank=1"), tmp_path / "run")
    assert report([str(tmp_path / "run")]) == 0
    said = Page((tmp_path / "run" / "report.html").read_text(encoding="utf-8")).text
    assert ("Pairs of columns" in said) == (columns > 1)


def test_an_exact_target_is_compared_with_its_own_density(tmp_path):
    train(compose("target=banana", *QUICK), tmp_path / "run")
    assert report([str(tmp_path / "run")]) == 0
    assert "the target itself" in Page((tmp_path / "run" / "report.html").read_text(encoding="utf-8")).text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["output=page.txt"], "output=page.txt: must end in .html"),
        (["output=nowhere/page.html"], "output=nowhere/page.html: there is no directory"),
        (["seed=-1"], "seed=-1: must be at least 0"),
        (["n=5"], "n: no such key"),
    ],
)
def test_mistakes(run, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert report([str(run.directory), *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())
    assert not (run.directory / "report.html").exists()


def test_a_page_is_not_overwritten(run, tmp_path, capsys):
    output = tmp_path / "page.html"
    output.write_text("mine")
    assert report([str(run.directory), f"output={output}"]) == 2
    assert "exists already, and is not overwritten" in capsys.readouterr().err
    assert output.read_text() == "mine"


def test_runs_without_a_result(run, tmp_path, capsys):
    assert report([str(tmp_path / "none")]) == 2
    assert "not a run directory" in capsys.readouterr().err
    shutil.copytree(run.directory, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "result.json").unlink()
    assert report([str(tmp_path / "unfinished")]) == 2
    assert "has no result yet" in capsys.readouterr().err
    assert not (tmp_path / "unfinished" / "report.html").exists()


def test_a_data_file_that_changed_or_is_gone(run, tmp_path, capsys):
    shutil.copytree(run.directory, tmp_path / "run")
    config, data = tmp_path / "run" / "config.yaml", tmp_path / "rows.csv"
    config.write_text(config.read_text().replace(run.config.target.path, str(data)))
    assert report([str(tmp_path / "run")]) == 2
    assert "rows.csv" in capsys.readouterr().err
    data.write_text("a,b\n" + "".join(f"{i},{i * i % 7}\n" for i in range(50)))
    assert report([str(tmp_path / "run")]) == 2
    assert "the file has changed since the run began" in capsys.readouterr().err
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_page_that_cannot_be_written(run, capsys, monkeypatch):
    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flowlab.system.files.os.replace", refuse)
    assert report([str(run.directory)]) == 1
    assert "report.html: cannot be written: No space left on device" in capsys.readouterr().err
    assert not list(run.directory.glob("*.html*"))
    assert not list(run.directory.glob(".*.part"))


def test_without_scikit_learn(run, capsys, monkeypatch):
    for name in ("threadpoolctl", "sklearn"):
        monkeypatch.setitem(sys.modules, name, None)
    assert report([str(run.directory)]) == 2
    assert "needs scikit-learn, which is not installed; type pip install" in capsys.readouterr().err
