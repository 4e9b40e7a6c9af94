import pandas
import pytest

from flowlab import ConfigError
from flowlab.loggers._csv import COLUMNS, CSVMetrics, check_metrics, rows_after


def test_rows_are_appended_and_steps_stand_once(tmp_path):
    path = tmp_path / "metrics.csv"
    first = CSVMetrics(path)
    first.log_metrics({"loss": 1.5}, 100)
    first.log_metrics({"loss": 1.25, "nll": 2.0}, 200)
    again = CSVMetrics(path)  # resumed from step 100: step 200 is computed again
    again.log_metrics({"loss": 1.25, "nll": 2.0}, 200)
    again.log_metrics({"loss": 1.0}, 300)
    table = pandas.read_csv(path)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["step"]) == [100, 200, 300]
    assert list(table["loss"]) == [1.5, 1.25, 1.0]


def test_a_line_cut_short_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    CSVMetrics(path).log_metrics({"loss": 1.5}, 100)
    whole = path.read_bytes()
    path.write_bytes(whole + b"200,1.2")
    again = CSVMetrics(path)
    assert path.read_bytes() == whole
    again.log_metrics({"loss": 1.25}, 200)
    assert list(pandas.read_csv(path)["step"]) == [100, 200]


def test_an_empty_file_is_begun_again(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"step,lo")  # killed while the first line was written
    CSVMetrics(path).log_metrics({"loss": 1.0}, 100)
    assert list(pandas.read_csv(path)["step"]) == [100]


def test_numbers_keep_every_digit(tmp_path):
    CSVMetrics(tmp_path / "metrics.csv").log_metrics({"loss": 1 / 3}, 1)
    assert float((tmp_path / "metrics.csv").read_text().splitlines()[1].split(",")[1]) == 1 / 3


@pytest.mark.parametrize("damaged", ["1x0,1.5", "100,1.5" + ",x" * 9, "100,1.5", "200" + "," * 10, "", "\0" * 20])
def test_a_damaged_line_is_named(tmp_path, damaged):
    path = tmp_path / "metrics.csv"
    metrics = CSVMetrics(path)
    for step in (100, 200, 300):
        metrics.log_metrics({"loss": 1.0}, step)
    check_metrics(path, 300)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], damaged, *lines[2:]]) + "\n")
    for look in (lambda: CSVMetrics(path), lambda: check_metrics(path, 300)):
        with pytest.raises(ConfigError, match=f"line {3 if damaged.startswith('200') else 2} is damaged: .*remove it"):
            look()


def test_missing_rows_are_noticed(tmp_path):
    metrics = CSVMetrics(tmp_path / "metrics.csv")
    metrics.log_metrics({"loss": 1.0}, 100)
    check_metrics(tmp_path / "metrics.csv", 100)
    with pytest.raises(ConfigError, match="ends at step 100, and the checkpoint comes after step 200"):
        check_metrics(tmp_path / "metrics.csv", 200)
    check_metrics(tmp_path / "none.csv", 0)


def test_the_rows_after_a_step(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics = CSVMetrics(path)
    for step in (100, 200, 300):
        metrics.log_metrics({"loss": step / 100, **({"nll": 2.0} if step == 300 else {})}, step)
    assert list(rows_after(path, 100)) == [(200, {"loss": 2.0}), (300, {"loss": 3.0, "nll": 2.0})]
    assert not list(rows_after(path, 300))
