"""Texts as people write them: every point is read, or an error names the setting that reads it."""

import bz2
import gzip
import io
import lzma

import numpy as np
import pandas
import pytest
import torch

from flowlab import ConfigError
from flowlab.config.schema import rename_keys
from flowlab.targets import DataError, FileTarget
from flowlab.targets._dialect import Dialect

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).round(4) + 0.00001  # every number has a fraction
WHOLE = RNG.integers(0, 50, (60, 3))
LABELS = np.array(["setosa", "virginica", "versicolor"])[RNG.integers(0, 3, 60)]


def lines(table, first="", mark=",", end=""):
    body = "".join(mark.join(str(cell) for cell in row) + end + "\n" for row in np.asarray(table))
    return (first + "\n" if first else "") + body


def as_csv(table, **options):
    text = io.StringIO()
    pandas.DataFrame(table).to_csv(text, **options)
    return text.getvalue()


def check_points(target, expected, columns=None):
    found = torch.cat([target.rows(split, 0, 0, torch.float64) for split in ("train", "validation", "test")]).numpy()
    expected = np.asarray(expected, dtype=float)
    np.testing.assert_array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])
    if columns:
        assert target.columns == columns


LABELLED = np.column_stack([X.astype(object), LABELS])
HEADERS = {
    "pandas without names": (as_csv(X, index=False), X, ["0", "1", "2"], "holds the names"),
    "one column without a name": (as_csv(X[:, :1], index=False), X[:, :1], ["0"], "holds the names"),
    "numbers from 1": (lines(X, "1,2,3"), X, ["1", "2", "3"], "holds the names"),
    "no header": (lines(X), X, ["x1", "x2", "x3"], "is a point"),
    "no header, whole numbers": (lines(WHOLE), WHOLE, ["x1", "x2", "x3"], "is a point"),
    "whole numbers from 1": (lines(WHOLE, "1,2,3"), [[1, 2, 3], *WHOLE], ["x1", "x2", "x3"], "is a point"),
    "words": (lines(X, "a,b,c"), X, ["a", "b", "c"], None),
    "words and a year": (lines(X, "id,2001,2002"), X, ["id", "2001", "2002"], "holds the names"),
    "blank lines first": ("\n\n" + lines(X, "0,1,2"), X, ["0", "1", "2"], "holds the names"),
    "byte order mark": ("\ufeff" + lines(X, "0,1,2"), X, ["0", "1", "2"], "holds the names"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_first_line_is_names_or_a_point(name, tmp_path):
    text, points, columns, said = HEADERS[name]
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    target = FileTarget(path)
    check_points(target, points, columns)
    assert [said in note and "target.header=" in note for note in target.notes] == [True] * bool(said)


AMBIGUOUS = {
    "whole numbers below 0,1,2": as_csv(WHOLE, index=False),
    "years": lines(X, "2001,2002,2003"),
    "a word above numbers": lines(X, "0.5,x,0.25"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_first_line_is_refused(name, tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(AMBIGUOUS[name])
    with pytest.raises(DataError, match="may hold the names of the columns or a point; add target.header=true or"):
        FileTarget(path)
    rows = len(AMBIGUOUS[name].splitlines())
    for header in ("true", "false") if "x" not in AMBIGUOUS[name] else ("true",):
        target = FileTarget(path, header=header)
        assert sum(len(target.rows(split, 0, 0)) for split in ("train", "validation", "test")) == rows - (
            header == "true"
        )


def test_first_line_with_a_gap_is_a_point(tmp_path):
    path = tmp_path / "points.csv"
    for gap in ("NA", "", "nan", "null"):
        path.write_text(lines(X, f"1.5,{gap},2.5"))
        with pytest.raises(
            DataError, match=r"1 row\(s\) hold NaN, infinity or nothing, the first in row 1, column 'x2'"
        ):
            FileTarget(path)


def test_configurations_of_earlier_versions_read_the_same_points(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(lines(WHOLE, "0,1,2"))
    old = rename_keys({"target": {"name": "file", "path": str(path)}})["target"]
    assert old["header"] == "words"
    check_points(FileTarget(path, header="words"), [[0, 1, 2], *WHOLE], ["x1", "x2", "x3"])


def test_labels_beside_the_points_take_no_row(tmp_path):
    path = tmp_path / "uci.data.csv"
    path.write_text(lines(LABELLED))
    with pytest.raises(DataError, match="column 'x4' holds '.*' in row 1, which is not a number"):
        FileTarget(path)
    check_points(FileTarget(path, columns=["x1", "x2", "x3"]), X)
    path.write_text(lines(LABELLED, "0,1,2,label"))
    check_points(FileTarget(path, columns=["0", "1", "2"]), X)


FRENCH = [[str(cell).replace(".", ",") for cell in row] for row in X]
READ = {
    "decimal commas": ("p.csv", lines(FRENCH, "a;b;c", ";"), {"decimal": ","}),
    "decimal commas, no header": ("p.csv", lines(FRENCH, "", ";"), {"decimal": "comma", "delimiter": "semicolon"}),
    "semicolons": ("p.csv", lines(X, "a;b;c", ";"), {"delimiter": ";"}),
    "tabs": ("p.csv", lines(X, "a\tb\tc", "\t"), {"delimiter": "tab"}),
    "spaces": ("p.csv", lines(X, "a b c", "  "), {"delimiter": "space"}),
    "trailing delimiters": ("p.csv", lines(X, "a,b,c,", end=","), {"columns": ["a", "b", "c"]}),
    "row numbers": ("p.csv", as_csv(pandas.DataFrame(X, columns=list("abc"))), {"index": True}),
    "row numbers above 0,1,2": ("p.csv", as_csv(X), {"index": True}),
    "row names of R": ("p.csv", lines(np.column_stack([LABELS, X.astype(object)]), "a,b,c"), {"index": True}),
    "row names, no header": ("p.csv", lines(np.column_stack([LABELS, X.astype(object)])), {"index": True}),
    "comment": ("p.csv", "# from a station, 2024\n" + lines(X, "a,b,c"), {"comment": "#"}),
    "names behind a mark": ("p.csv", lines(X, "# a,b,c"), {}),
    "unicode minus": ("p.csv", lines(X, "a,b,c").replace("-", "\u2212"), {}),
    "quoted": ("p.csv", as_csv(X, index=False, quoting=1), {}),
    "tsv": ("p.tsv", lines(X, "a\tb\tc", "\t"), {}),
    "txt with spaces": ("p.txt", lines(X, "", " "), {}),
    "txt with commas": ("p.txt", lines(X, "a,b,c", ","), {}),
    "txt with tabs": ("p.txt", lines(X, "a\tb\tc", "\t"), {}),
    "txt with semicolons": ("p.txt", lines(FRENCH, "a;b;c", ";"), {"decimal": ","}),
}


@pytest.mark.parametrize("name", READ)
def test_setting_reads_a_text(name, tmp_path):
    file, text, settings = READ[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    check_points(FileTarget(tmp_path / file, **settings), X)


def test_settings_read_thousands(tmp_path):
    path, points = tmp_path / "p.csv", np.array([[1234.5 * i, -1000000.25 * i * i] for i in range(40)])
    for thousands, decimal in ((".", ","), ("'", ","), (" ", ","), (",", ".")):
        cells = [[f"{c:,.2f}".translate({44: thousands, 46: decimal}) for c in row] for row in points]
        path.write_text(lines(cells, "a;b", ";"), encoding="utf-8")
        check_points(FileTarget(path, delimiter=";", thousands=thousands, decimal=decimal), points)
    path.write_text(lines(cells, "a;b", ";").replace(",", "\u202f"), encoding="utf-8")
    check_points(FileTarget(path, delimiter=";", thousands="space"), points)


@pytest.mark.parametrize(("decimal", "thousands"), [(".", ","), (",", None), (",", ".")])
def test_quoted_numbers_may_hold_the_delimiter(decimal, thousands, tmp_path):
    path, points = tmp_path / "p.csv", np.array([[1234.5 * i, -1000000.25 * i * i] for i in range(40)])
    cells = [[f"{c:,.2f}".translate({44: thousands or "", 46: decimal}) for c in row] for row in points]
    path.write_text("a,b\n" + "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in cells))
    check_points(FileTarget(path, decimal=decimal, thousands=thousands), points)


REFUSED = {
    "semicolons": (lines(X, "a;b;c", ";"), "separated by ';'; add target.delimiter=semicolon, or"),
    "decimal commas": (lines(FRENCH, "a;b;c", ";"), "target.delimiter=semicolon and target.decimal=comma, or save"),
    "decimal commas, no header": (lines(FRENCH, "", ";"), "target.delimiter=semicolon and target.decimal=comma"),
    "tabs": (lines(FRENCH, "a\tb\tc", "\t"), "add target.delimiter=tab and target.decimal=comma"),
    "spaces": (lines(X, "a b c", " "), "add target.delimiter=space"),
    "trailing delimiters, no header": (lines(X, end=","), "empty; choose the others with target.columns=[x1,x2,x3]"),
    "trailing delimiters": (
        lines(X, "a,b,c,", end=","),
        "no name; choose the others with target.columns=[a,b,c]",
    ),
    "row numbers": (as_csv(pandas.DataFrame(X, columns=list("abc"))), "column 1 has no name; add target.index=true"),
    "row numbers above 0,1,2": (as_csv(X), "column 1 has no name; add target.index=true"),
    "row names of R": (lines(np.column_stack([LABELS, X.astype(object)]), "a,b,c"), "add target.index=true"),
    "comment": ("# from a station\n" + lines(X, "a,b,c"), "add target.comment=hash"),
    "comment with a comma": ("# from a station, 2024\n" + lines(X, "a,b,c"), "add target.comment=hash"),
    "comment of MATLAB": ("% from a station\n" + lines(X, "a,b,c"), "add target.comment=% for comments"),
    "a spreadsheet's delimiter": ("sep=;\n" + lines(X, "a;b;c", ";"), "the first line, sep=;, holds neither"),
    "thousands": (lines(X, "a,b,c") + '"1,234",1,2\n', "target.thousands=comma if it groups digits"),
    "thousands and decimals": (
        lines(X, "a,b,c") + '"1.234,5",1,2\n',
        "target.decimal=comma and target.thousands=point",
    ),
    "apostrophes": (lines(X, "a,b,c") + "1'234,1,2\n", "add target.thousands=apostrophe"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_the_setting(name, tmp_path):
    text, said = REFUSED[name]
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError) as error:
        FileTarget(tmp_path / "p.csv")
    assert said in str(error.value)


def test_compressed_texts(tmp_path):
    for suffix, module in ((".gz", gzip), (".bz2", bz2), (".xz", lzma)):
        path = tmp_path / f"points.csv{suffix}"
        path.write_bytes(module.compress(lines(X, "a,b,c").encode()))
        check_points(FileTarget(path), X, ["a", "b", "c"])
    path = tmp_path / "points.tsv.gz"
    path.write_bytes(gzip.compress(lines(X, "", "\t").encode()))
    check_points(FileTarget(path), X)


def test_dialect_refuses_marks_that_do_not_fit():
    for settings, said in (
        ({"delimiter": "ab"}, "delimiter='ab': must be one mark"),
        ({"decimal": "1"}, "decimal='1': must be one mark"),
        ({"thousands": ",", "decimal": ","}, "thousands=',': is target.decimal too"),
    ):
        with pytest.raises(ConfigError, match=said):
            Dialect(**settings)
