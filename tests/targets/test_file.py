"""Points from a file: formats, columns, splits, and refused files."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet
import pytest
import torch

from flowlab.targets import DataError, FileTarget


def test_formats_give_the_same_points(iris, tmp_path):
    table = pandas.read_csv(iris)
    np.save(tmp_path / "iris.npy", table.to_numpy())
    table.to_parquet(tmp_path / "iris.parquet")
    table.to_feather(tmp_path / "iris.feather")
    np.savez(tmp_path / "iris.npz", points=table.to_numpy())
    np.savez(tmp_path / "columns.npz", **{name: table[name].to_numpy() for name in table})
    table.to_csv(tmp_path / "bare.csv", index=False, header=False)
    reference = FileTarget(iris)
    for name in ("iris.npy", "iris.parquet", "iris.feather", "iris.npz", "columns.npz", "bare.csv"):
        other = FileTarget(tmp_path / name)
        assert torch.equal(reference.rows("train", 0, 0, torch.float64), other.rows("train", 0, 0, torch.float64))
    assert FileTarget(tmp_path / "bare.csv").columns == ["x1", "x2", "x3", "x4"]


def test_partitioned_parquet_is_one_table(iris, tmp_path):
    table = pandas.read_csv(iris).assign(year=np.repeat([2020, 2021, 2022], 50))
    table.to_parquet(tmp_path / "iris", partition_cols=["year"])
    (tmp_path / "iris/_SUCCESS").touch()
    target = FileTarget(tmp_path / "iris")
    assert target.columns == list(table)
    rows = torch.cat([target.rows(split, 0, 0, torch.float64) for split in ("train", "validation", "test")]).numpy()
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], table.to_numpy()[np.lexsort(table.to_numpy().T)])
    before = target.fingerprint
    shutil.move(next((tmp_path / "iris/year=2021").iterdir()), tmp_path / "iris/year=2020/moved.parquet")
    assert FileTarget(tmp_path / "iris").fingerprint != before


def test_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", train=np.zeros((9, 2)), test=np.zeros((4, 2)))
    with pytest.raises(DataError, match=r"holds train of shape \(9, 2\), test of .*; save the one array of points"):
        FileTarget(tmp_path / "two.npz")


def test_settings_of_texts_are_refused_elsewhere(tmp_path):
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(50, 2)))
    with pytest.raises(DataError, match=r"target.decimal=, is for text files \(.csv, .tsv, .txt\); leave it out"):
        FileTarget(tmp_path / "points.npy", decimal=",")


def test_names_are_found_without_their_outer_spaces(tmp_path):
    table = pandas.DataFrame({"height ": np.arange(20.0) ** 2, " weight": np.arange(20.0) ** 3, "a": 1.0, "a ": 2.0})
    table.to_parquet(tmp_path / "p.parquet")
    assert FileTarget(tmp_path / "p.parquet", columns=["height", "weight"]).columns == ["height ", " weight"]
    with pytest.raises(DataError, match="columns 'a' has the same|column 'a' has the same"):
        FileTarget(tmp_path / "p.parquet", columns=["a", "height"])  # the column with this very name
    with pytest.raises(DataError, match="no column 'b'"):
        FileTarget(tmp_path / "p.parquet", columns=["b"])


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pyarrow.table([np.arange(20.0), np.arange(20.0) ** 2, np.arange(20.0) ** 3], names=["a", "b", "a"])
    pyarrow.parquet.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="two columns have the name 'a'; rename one, or choose others with"):
        FileTarget(tmp_path / "twice.parquet")
    assert FileTarget(tmp_path / "twice.parquet", columns=["b"]).columns == ["b"]


@pytest.mark.parametrize("start", [2**62, 2**63, 10**20])
def test_identifiers_that_float64_rounds_are_refused(start, tmp_path):
    path = tmp_path / "ids.csv"
    for step in (1, 100):
        pandas.DataFrame({"id": [start + step * i for i in range(50)], "x": np.arange(50.0) ** 2}).to_csv(
            path, index=False
        )
        with pytest.raises(
            DataError, match=f"column 'id' holds whole numbers beyond 2.53, such as {start}, and float64"
        ):
            FileTarget(path)
    assert FileTarget(path, columns=["x"]).dim == 1
    if start < 2**63:
        np.save(tmp_path / "ids.npy", np.array([start + i for i in range(50)]))
        with pytest.raises(DataError, match="column 'x1' holds whole numbers beyond"):
            FileTarget(tmp_path / "ids.npy")


def test_splits_are_a_partition_that_the_seed_decides(iris):
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


def test_mean_and_deviation_use_only_training_rows(iris):
    target = FileTarget(iris)
    train = target.rows("train", 0, 0, torch.float64)
    torch.testing.assert_close(target.mean, train.mean(0))
    torch.testing.assert_close(target.deviation, train.std(0))


def test_single_column_name_may_contain_a_space(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("body height\n" + "".join(f"{i * i}\n" for i in range(20)))
    assert FileTarget(path).columns == ["body height"]


def test_first_row_with_a_repeated_number_is_data(tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("0.5,0.5\n" + "".join(f"{i},{i * i}\n" for i in range(20)))
    target = FileTarget(path)
    assert target.columns == ["x1", "x2"]
    assert sum(len(target.rows(split, 0, 0)) for split in ("train", "validation", "test")) == 21


def test_values_that_float32_rounds_away_are_refused(tmp_path):
    path = tmp_path / "times.csv"
    pandas.DataFrame({"t": 1.7e9 + 5 * np.arange(50.0), "x": np.arange(50.0) ** 2}).to_csv(path, index=False)
    target = FileTarget(path)
    target.check(torch.float64, 0)
    with pytest.raises(DataError, match="column 't' reaches 1.7e.09 but varies by .*dtype=float64"):
        target.check(torch.float32, 0)


def test_bad_file_raises_config_error_in_python(tmp_path):
    with pytest.raises(DataError, match="nowhere.csv: no such file"):
        FileTarget(tmp_path / "nowhere.csv")


def test_a_file_is_read_once(iris, monkeypatch):
    """Points and fingerprint come from the same bytes, so a file that changes during the read cannot mix contents."""
    expected, read, times = hashlib.sha256(iris.read_bytes()).hexdigest(), Path.read_bytes, []

    def read_and_append(path):
        content = read(path)
        times.append(path)
        with open(path, "a") as file:
            file.write("1,2,3,4\n")
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_append)
    target = FileTarget(iris)
    assert times == [iris]
    assert target.fingerprint == expected
    assert sum(len(target.rows(split, 0, 0)) for split in ("train", "validation", "test")) == 150


def test_integers_of_any_size_are_numbers(tmp_path):
    path = tmp_path / "large.csv"
    path.write_text("a,b\n" + "".join(f"{10**30 + i * 10**28},{i * i}\n" for i in range(20)))
    assert FileTarget(path).rows("train", 0, 0, torch.float64)[:, 0].min() >= 1e30
