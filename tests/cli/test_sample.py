"""flowlab-sample and flowlab-score: rows of a trained flow, and scores of rows."""

import numpy as np
import pandas
import pytest

from flowlab import compose, train
from flowlab.cli import sample as sample_module
from flowlab.cli.sample import main as sample
from flowlab.cli.score import main as score

QUICK = ("max_steps=60", "batch_size=64", "flow.depth=2", "trainer.progress=off", "trainer.compile=false")


@pytest.fixture(scope="module")
def table():
    x = np.random.default_rng(0).normal(size=(500, 2))
    return pandas.DataFrame({"age": 40 + 5 * x[:, 0], "height, in cm": 170 + 8 * x[:, 0] + 4 * x[:, 1]})


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    directory = tmp_path_factory.mktemp("table")
    table.to_csv(directory / "rows.csv", index=False)
    config = compose("target=file", f"target.path={directory / 'rows.csv'}", *QUICK)
    return train(config, directory / "run")


def test_rows_have_the_columns_of_the_table_and_its_distribution(run, table, tmp_path, capsys):
    output = tmp_path / "new.csv"
    assert sample([str(run.directory), f"output={output}", "n=5000"]) == 0
    assert capsys.readouterr().out == f"wrote 5,000 rows to {output}\n"
    rows = pandas.read_csv(output)
    assert list(rows) == list(table)
    assert len(rows) == 5000
    assert (rows.mean() - table.mean()).abs().max() < 0.5 * table.std().max()


def test_equal_seeds_give_equal_rows_and_a_compressed_file_the_same(run, tmp_path):
    paths = [tmp_path / name for name in ("a.csv", "b.csv.gz", "c.csv")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert sample([str(run.directory), f"output={path}", "n=50", f"seed={seed}"]) == 0
    first, same, other = map(pandas.read_csv, paths)
    assert first.equals(same)
    assert not first.equals(other)


def test_rows_come_in_chunks(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_module, "CHUNK", 20)
    assert sample([str(run.directory), f"output={tmp_path / 'new.csv'}", "n=50"]) == 0
    rows = pandas.read_csv(tmp_path / "new.csv")
    assert len(rows) == len(rows.drop_duplicates()) == 50


def test_the_data_file_is_not_needed(run, tmp_path, monkeypatch):
    data = run.config.target.path
    hidden = tmp_path / "hidden.csv"
    try:
        import shutil

        shutil.move(data, hidden)
        assert sample([str(run.directory), f"output={tmp_path / 'new.csv'}", "n=5"]) == 0
    finally:
        shutil.move(hidden, data)


def test_scores_are_log_densities_and_percentiles(run, table, tmp_path, capsys):
    far = pandas.DataFrame({"height, in cm": [170.0, 400.0], "more": ["a", "b"], "age": [40.0, 40.0]})
    far.to_csv(tmp_path / "far.csv", index=False)
    words = [str(run.directory), f"input={tmp_path / 'far.csv'}", f"output={tmp_path / 'scores.csv'}"]
    assert score(words) == 0
    assert "wrote 2 scores to" in capsys.readouterr().out
    scores = pandas.read_csv(tmp_path / "scores.csv")
    points = far[list(table)].to_numpy(dtype="float32")
    assert scores["log_density"].to_numpy() == pytest.approx(run.flow.log_prob(points).numpy(), abs=1e-5)
    assert scores["flagged"].tolist() == [False, True]
    assert scores["percentile"][0] > 50
    assert scores["percentile"][1] == 0


def test_the_threshold_flags_its_share_of_the_training_rows(run, tmp_path):
    rows = pandas.DataFrame(run.target.rows("train", 0, 0).numpy(), columns=run.target.columns)
    rows.to_csv(tmp_path / "train.csv", index=False)
    words = [str(run.directory), f"input={tmp_path / 'train.csv'}", f"output={tmp_path / 'scores.csv'}"]
    assert score([*words, "threshold=20"]) == 0
    assert pandas.read_csv(tmp_path / "scores.csv")["flagged"].mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["output=new.csv", "n=0"], "n=0: must be at least 1"),
        (["output=new.csv", "m=1"], "m: no such key"),
        (["output=new.txt"], "output=new.txt: must end in .csv"),
        (["output=nowhere/new.csv"], "output=nowhere/new.csv: there is no directory"),
        (["output=/proc/new.csv"], "output=/proc/new.csv: cannot be written: "),
        (["output=new.csv", "context=[1]"], "context: is for a conditional flow; leave it out"),
        (["output=new.csv", "--n=3"], "--n=3: no such option; a key has no hyphens before it: n=3"),
        (["output=new.csv", "n=3", "n=4"], "n: is given twice"),
        (["n=3"], "output: must be given"),
        (["another", "output=new.csv"], "give one run directory"),
    ],
)
def test_mistakes_of_a_sample(run, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert sample([str(run.directory), *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age\n40\n", "height, in cm"),
        ('age,"height, in cm"\n40,tall\n', "height, in cm"),
        ('age,"height, in cm"\n40,\n', "NaN"),
        ("", "empty"),
    ],
)
def test_mistakes_of_a_score(run, tmp_path, capsys, content, message):
    (tmp_path / "rows.csv").write_text(content)
    output = tmp_path / "scores.csv"
    assert score([str(run.directory), f"input={tmp_path / 'rows.csv'}", f"output={output}"]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_file_is_not_overwritten(run, tmp_path, capsys):
    output = tmp_path / "new.csv"
    output.write_text("mine")
    assert sample([str(run.directory), f"output={output}"]) == 2
    assert "exists already, and is not overwritten" in capsys.readouterr().err
    assert output.read_text() == "mine"


def test_a_directory_that_is_no_run(tmp_path, capsys):
    assert sample([str(tmp_path), f"output={tmp_path / 'new.csv'}"]) == 2
    assert "not a run directory" in capsys.readouterr().err
