"""Points from a file: what is read, how it is split, and what is refused."""

import numpy as np
import pandas
import pytest
import torch

from flowlab.targets import DataError, FileTarget, points


def test_formats_give_the_same_points(iris, tmp_path):
    table = pandas.read_csv(iris)
    np.save(tmp_path / "iris.npy", table.to_numpy())
    table.to_parquet(tmp_path / "iris.parquet")
    table.to_csv(tmp_path / "bare.csv", index=False, header=False)
    reference = FileTarget(iris)
    for name in ("iris.npy", "iris.parquet", "bare.csv"):
        other = FileTarget(tmp_path / name)
        assert torch.equal(reference.rows("train", 0, 0, torch.float64), other.rows("train", 0, 0, torch.float64))
    assert FileTarget(tmp_path / "bare.csv").columns == ["x1", "x2", "x3", "x4"]


def test_splits_are_a_partition_decided_by_the_seed(iris):
    target = FileTarget(iris, validation=0.2, test=0.1, split_seed=1)
    parts = [target.rows(split, 0, 0, torch.float64) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [105, 30, 15]
    rows = np.sort(torch.cat(parts).numpy().view([("", "f8")] * 4), axis=0)
    expected = np.sort(pandas.read_csv(iris).to_numpy().copy().view([("", "f8")] * 4), axis=0)
    assert (rows == expected).all()
    again, other = (
        FileTarget(iris, validation=0.2, test=0.1, split_seed=1),
        FileTarget(iris, validation=0.2, test=0.1, split_seed=2),
    )
    assert torch.equal(again.rows("test", 0, 0), target.rows("test", 0, 0))
    assert not torch.equal(other.rows("test", 0, 0), target.rows("test", 0, 0))


def test_columns_are_selected_in_the_order_given(iris):
    target = FileTarget(iris, columns=["petal width (cm)", "sepal length (cm)"])
    assert target.dim == 2
    assert target.columns == ["petal width (cm)", "sepal length (cm)"]
    assert target.rows("train", 0, 0)[:, 0].max() < target.rows("train", 0, 0)[:, 1].min()


def test_mean_and_deviation_are_of_the_training_rows(iris):
    target = FileTarget(iris)
    train = target.rows("train", 0, 0, torch.float64)
    torch.testing.assert_close(target.mean, train.mean(0))
    torch.testing.assert_close(target.deviation, train.std(0))


def write(text):
    return lambda path: path.write_text(text)


GOOD = "a,b\n" + "".join(f"{i},{i * i}\n" for i in range(20))

BAD = {
    "missing": (None, {}, "no such file"),
    "a directory": (lambda path: path.mkdir(), {}, "is a directory"),
    "empty": (write(""), {}, "cannot be read"),
    "text in a number column": (write(GOOD + "x,3\n"), {}, "column 'a' holds 'x' in row 21"),
    "not a number": (write(GOOD + "nan,3\n"), {}, "1 row.* first in row 21, column 'a'"),
    "infinite": (write(GOOD + "3,inf\n"), {}, "row 21, column 'b'"),
    "a gap": (write(GOOD + "3,\n"), {}, "row 21, column 'b'"),
    "one row": (write("a,b\n1,2\n"), {}, "1 row"),
    "no row": (write("a,b\n"), {}, "0 row"),
    "zero variance": (write("a,b\n" + "".join(f"{i},7\n" for i in range(20))), {}, "column 'b' has the same value"),
    "unknown column": (write(GOOD), {"columns": ["a", "c"]}, "no column 'c'; it has: a, b"),
    "a column twice": (write(GOOD), {"columns": ["a", "a"]}, "twice"),
    "no columns": (write(GOOD), {"columns": []}, "no columns"),
    "a row longer than the header": (write(GOOD + "1,2,3\n"), {}, "cannot be read"),
    "semicolons": (write(GOOD.replace(",", ";")), {}, "parted by ';'"),
    "row numbers": (write(",a\n" + "".join(f"{i},{i * i}\n" for i in range(20))), {}, "column 1 has no name"),
    "one name twice": (write(GOOD.replace("a,b", "a,a")), {}, "two columns are called 'a'"),
    "ragged": (write("a,b\n1,2\n1,2,3\n"), {}, "cannot be read"),
    "bytes that are no text": (lambda path: path.write_bytes(b"\xff\xfe\x00\x81" * 50), {}, "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named(case, tmp_path):
    prepare, arguments, message = BAD[case]
    path = tmp_path / "points.csv"
    if prepare:
        prepare(path)
    with pytest.raises(DataError, match=message) as caught:
        FileTarget(path, **arguments)
    assert str(path) in str(caught.value)


def test_one_column_with_a_space_in_its_name(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("body height\n" + "".join(f"{i * i}\n" for i in range(20)))
    assert FileTarget(path).columns == ["body height"]


def test_a_first_row_with_a_number_twice_is_data(tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("0.5,0.5\n" + "".join(f"{i},{i * i}\n" for i in range(20)))
    target = FileTarget(path)
    assert target.columns == ["x1", "x2"]
    assert sum(len(target.rows(split, 0, 0)) for split in ("train", "validation", "test")) == 21


def test_values_that_float32_rounds_away_are_refused(tmp_path):
    path = tmp_path / "times.csv"
    pandas.DataFrame({"t": 1.7e9 + 5 * np.arange(50.0), "x": np.arange(50.0) ** 2}).to_csv(path, index=False)
    target = FileTarget(path)
    target.check_precision(torch.float64)
    with pytest.raises(DataError, match="column 't' reaches 1.7e.09 but varies by .*dtype=float64"):
        target.check_precision(torch.float32)


def test_unknown_ending_is_named(tmp_path):
    with pytest.raises(DataError, match=r"'.xlsx'.*\.csv, \.npy, \.parquet"):
        FileTarget(tmp_path / "points.xlsx")


@pytest.mark.parametrize("array", [np.zeros((2, 2, 2)), np.array(["a", "b"]), np.array([{}], dtype=object)])
def test_bad_arrays_are_named(array, tmp_path):
    np.save(tmp_path / "points.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match="points.npy"):
        FileTarget(tmp_path / "points.npy")


def test_a_file_that_changes_while_it_is_read_is_refused(iris, monkeypatch):
    read = points.read_points

    def read_and_append(path, columns):
        found = read(path, columns)
        with open(path, "a") as file:
            file.write("1,2,3,4\n")
        return found

    monkeypatch.setattr(points, "read_points", read_and_append)
    with pytest.raises(DataError, match=r"iris\.csv: has changed while it was read"):
        FileTarget(iris)
