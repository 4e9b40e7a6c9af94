import pandas

from flowlab.training.metrics import COLUMNS, CSVMetrics, rows_after


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


def test_the_rows_after_a_step(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics = CSVMetrics(path)
    for step in (100, 200, 300):
        metrics.log_metrics({"loss": step / 100, **({"nll": 2.0} if step == 300 else {})}, step)
    assert list(rows_after(path, 100)) == [(200, {"loss": 2.0}), (300, {"loss": 3.0, "nll": 2.0})]
    assert not list(rows_after(path, 300))
