import pandas
import pytest

from flowlab.config.errors import ConfigError
from flowlab.loggers.base import CSVMetrics, check_metrics, rows_after

METRICS = ("nll", "nll_se", "kl", "bits_per_dim", "inverse_error")
HEADER = "step,loss,nll,nll_se,kl,bits_per_dim,inverse_error,grad_norm,lr,steps_per_second,seconds"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def test_rows_are_appended_once_per_step(path):
    first = CSVMetrics(path, METRICS)
    first.log_metrics({"loss": 1.5}, 100)
    first.log_metrics({"loss": 1.25, "nll": 2.0}, 200)
    again = CSVMetrics(path)  # resumed from step 100: step 200 is computed again
    assert again.last_step == 200
    again.log_metrics({"loss": 1.25, "nll": 2.0}, 200)
    again.log_metrics({"loss": 1.0}, 300)
    table = pandas.read_csv(path)
    assert ",".join(table.columns) == HEADER
    assert list(table["step"]) == [100, 200, 300]
    assert list(table["loss"]) == [1.5, 1.25, 1.0]


def test_a_new_file_has_columns_for_the_expected_metrics(path):
    file = CSVMetrics(path, METRICS)
    assert path.read_text() == f"{HEADER}\n", "before the first row, so a reader finds an empty table"
    file.log_metrics({"loss": 1.5, "grad_norm": 0.5, "lr": 0.01, "steps_per_second": 9.0, "seconds": 11.0}, 100)
    file.log_metrics({"loss": 1.5} | dict.fromkeys(METRICS, 2.0) | {"lr": 0.01}, 200)
    assert path.read_text().splitlines()[1:] == [
        "100,1.5,,,,,,0.5,0.01,9.0,11.0",
        "200,1.5,2.0,2.0,2.0,2.0,2.0,,0.01,,",
    ]


def test_a_new_metric_adds_a_column_to_every_row(path):
    file = CSVMetrics(path, METRICS)
    file.log_metrics({"loss": 1.5}, 100)
    file.log_metrics({"loss": 1.25, "ess": 0.5}, 200)
    file.log_metrics({"loss": 1.0, "ess": 0.75}, 300)
    assert [line.count(",") for line in path.read_text().splitlines()] == [11] * 4
    table = pandas.read_csv(path)
    assert list(table.columns) == [*HEADER.split(","), "ess"]
    assert table["ess"].tolist()[1:] == [0.5, 0.75]
    assert table["ess"].isna().tolist() == [True, False, False]
    check_metrics(path, 300)
    assert not list(path.parent.glob(".*")), "no temporary file remains"


def test_file_with_a_new_column_replaces_the_old_file_atomically(path, monkeypatch):
    """A kill during the rewrite leaves the old rows."""
    file = CSVMetrics(path, METRICS)
    file.log_metrics({"loss": 1.5}, 100)
    before = path.read_bytes()

    def raise_interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        file.log_metrics({"loss": 1.25, "ess": 0.5}, 200)
    assert path.read_bytes() == before


@pytest.mark.parametrize("columns", [["step", "loss", "lr"], ["step", "author", "nll", "loss", *"abcdefghij"]])
def test_file_of_a_different_version_keeps_its_columns(path, columns):
    path.write_text(f"{','.join(columns)}\n100,{','.join(['7.5'] * (len(columns) - 1))}\n")
    file = CSVMetrics(path, METRICS)
    check_metrics(path, 100)
    file.log_metrics({"loss": 1.25, "kl": 0.5}, 200)
    table = pandas.read_csv(path).set_index("step")
    assert list(table.columns) == [*columns[1:], "kl"]
    assert (table.loc[100, columns[1:]] == 7.5).all()
    assert table.loc[200].dropna().to_dict() == {"loss": 1.25, "kl": 0.5}


def test_a_name_with_a_comma_is_one_column(path):
    CSVMetrics(path, ["mass, in %"]).log_metrics({"loss": 1.0, "mass, in %": 99.5}, 100)
    CSVMetrics(path).log_metrics({"loss": 1.0, "mass, in %": 99.75}, 200)
    assert pandas.read_csv(path)["mass, in %"].tolist() == [99.5, 99.75]


def test_a_line_cut_short_is_dropped(path):
    CSVMetrics(path).log_metrics({"loss": 1.5}, 100)
    whole = path.read_bytes()
    path.write_bytes(whole + b"200,1.2")
    again = CSVMetrics(path)
    assert path.read_bytes() == whole
    again.log_metrics({"loss": 1.25}, 200)
    assert list(pandas.read_csv(path)["step"]) == [100, 200]


def test_file_without_a_complete_header_is_started_again(path):
    path.write_bytes(b"step,lo")  # killed while the first line was written
    CSVMetrics(path).log_metrics({"loss": 1.0}, 100)
    assert list(pandas.read_csv(path)["step"]) == [100]


def test_numbers_keep_every_digit(path):
    CSVMetrics(path).log_metrics({"loss": 1 / 3}, 1)
    assert float(path.read_text().splitlines()[1].split(",")[1]) == 1 / 3


@pytest.mark.parametrize("damaged", ["1x0,1.5", "100,1.5" + ",x" * 9, "100,1.5", "200" + "," * 10, "", "\0" * 20])
def test_a_damaged_row_is_named(path, damaged):
    metrics = CSVMetrics(path, METRICS)
    for step in (100, 200, 300):
        metrics.log_metrics({"loss": 1.0}, step)
    check_metrics(path, 300)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], damaged, *lines[2:]]) + "\n")
    for read in (lambda: CSVMetrics(path), lambda: check_metrics(path, 300)):
        with pytest.raises(ConfigError, match=f"line {3 if damaged.startswith('200') else 2} is damaged: .*remove it"):
            read()


@pytest.mark.parametrize(
    "header", ["100,1.5,2.0", "loss,step", "step,loss,loss", "step,,loss", "", "\0\0", "step;loss"]
)
def test_a_damaged_header_is_named(path, header):
    path.write_text(f"{header}\n200,1.0,2.0\n")
    for read in (lambda: CSVMetrics(path), lambda: check_metrics(path, 200)):
        with pytest.raises(ConfigError, match="line 1 is damaged: .*remove the file"):
            read()


def test_missing_rows_are_noticed(path):
    metrics = CSVMetrics(path)
    metrics.log_metrics({"loss": 1.0}, 100)
    check_metrics(path, 100)
    with pytest.raises(ConfigError, match="ends at step 100, and the checkpoint comes after step 200"):
        check_metrics(path, 200)
    check_metrics(path.with_name("none.csv"), 0)


def test_the_rows_after_a_step(path):
    metrics = CSVMetrics(path, METRICS)
    for step in (100, 200, 300):
        metrics.log_metrics({"loss": step / 100, **({"nll": 2.0} if step == 300 else {})}, step)
    assert list(rows_after(path, 100)) == [(200, {"loss": 2.0}), (300, {"loss": 3.0, "nll": 2.0})]
    assert not list(rows_after(path, 300))
