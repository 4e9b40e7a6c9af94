"""A table from file to new rows by the command line: types and domains are kept, conditions have names."""

import json
import shutil

import numpy as np
import pandas
import pytest
import torch

from flowlab import load_run
from flowlab.cli import sample as sample_module
from flowlab.cli.main import main as train
from flowlab.cli.sample import main as sample
from flowlab.cli.score import main as score

QUICK = (
    "max_steps=40",
    "batch_size=128",
    "flow.depth=2",
    "flow.hidden=[16]",
    "trainer.progress=off",
    "trainer.steps_per_call=10",
)
KINDS = "target.kinds=[hour:circular:0:24,size:ordinal:S:M:L]"
CONDITION = "context=[age=30,group=b]"
DTYPES = ["float64", "float64", "float64", "int64", "float64", "bool", "int64"]


@pytest.fixture(scope="module")
def table(make_table):
    return make_table(5000)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    directory = tmp_path_factory.mktemp("table")
    table.to_csv(directory / "rows.csv", index=False)
    words = ["target=table", f"target.path={directory / 'rows.csv'}", KINDS, "target.context=[age,group]", "flow=nsf"]
    assert train([*words, *QUICK, f"hydra.run.dir={directory / 'run'}"]) == 0
    return load_run(directory / "run")


def check_domains(rows):
    assert (rows["income"] > 0).all()
    assert np.isfinite(rows["tail"]).all()
    assert rows["share"].between(0, 1).all()
    assert (rows["visits"] >= 0).all()
    assert ((rows["hour"] >= 0) & (rows["hour"] < 24)).all()
    assert rows["score"].between(1, 5).all()
    assert set(rows["size"]) <= {"S", "M", "L"}


def test_new_rows_have_the_domains_and_types_of_the_table(run, table, tmp_path, capsys):
    output = tmp_path / "new.csv"
    assert sample([str(run.directory), f"output={output}", "n=20000", CONDITION]) == 0
    assert capsys.readouterr().out == f"wrote 20,000 rows to {output}\n"
    rows = pandas.read_csv(output)
    assert list(rows) == list(table)
    check_domains(rows)
    assert list(rows.dtypes.astype(str))[:7] == DTYPES
    assert set(rows["age"]) == {30}
    assert rows["age"].dtype == "int64"
    assert set(rows["group"]) == {"b"}


@pytest.mark.parametrize("flow", ["smooth_prelu", "planar"])
def test_a_flow_that_takes_no_context_is_refused(run, tmp_path, capsys, flow):
    path = run.config.target.path
    words = ["target=table", f"target.path={path}", KINDS, "target.context=[age,group]", f"flow={flow}"]
    assert train([*words, "max_steps=5", f"hydra.run.dir={tmp_path / 'new'}"]) == 2
    assert (
        "takes no context, but target=table has one; use a flow that does, such as flow=nsf" in capsys.readouterr().err
    )
    assert not (tmp_path / "new").exists()


def test_equal_conditions_give_equal_rows_in_any_kind_of_file(run, table, tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("a.csv.gz", "b.parquet"):
        assert sample([str(run.directory), f"output={tmp_path / name}", "n=500", CONDITION]) == 0
    text, typed = pandas.read_csv(tmp_path / "a.csv.gz"), pandas.read_parquet(tmp_path / "b.parquet")
    assert list(typed.dtypes.astype(str))[:7] == DTYPES
    for name in ("visits", "smoker", "score", "age"):
        assert text[name].equals(typed[name])
    assert np.allclose(text["income"], typed["income"])


def test_a_file_of_conditions_gives_a_row_for_each(run, table, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_module, "CHUNK", 100)
    conditions = table[["group", "age"]].head(250).assign(more=1)
    conditions.to_csv(tmp_path / "conditions.csv", index=False)
    words = [str(run.directory), f"output={tmp_path / 'new.csv'}", f"context={tmp_path / 'conditions.csv'}"]
    assert sample(words) == 0
    rows = pandas.read_csv(tmp_path / "new.csv")
    assert rows[["age", "group"]].equals(conditions[["age", "group"]])
    check_domains(rows)


def test_neither_sampling_nor_the_schema_needs_the_data(run, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run.directory, copied)
    config = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(config.replace("rows.csv", "gone.csv"))
    assert sample([str(copied), f"output={tmp_path / 'new.csv'}", "n=5", CONDITION]) == 0
    loaded = load_run(copied)
    assert loaded.schema.columns == run.target.columns
    assert loaded.schema.context_columns == ["age", "group"]
    points = run.target.batch("test", 0, 0)
    assert -loaded.flow.log_prob(*points).mean() == pytest.approx(run.result["nll"], abs=1e-4)
    assert loaded.flow.log_prob(-points.x.abs(), points.context).max() == -torch.inf


def test_scores_are_log_densities_given_the_conditions(run, table, tmp_path, capsys):
    rows = table.head(300).copy()
    rows.loc[4, "income"] = -1.0
    rows.loc[5, "visits"] = -3
    rows.to_csv(tmp_path / "rows.csv", index=False)
    output = tmp_path / "scores.csv"
    assert score([str(run.directory), f"input={tmp_path / 'rows.csv'}", f"output={output}"]) == 0
    assert "2 with a value outside of the domain of its column" in capsys.readouterr().out
    scores = pandas.read_csv(output)
    assert scores["log_density"][[4, 5]].tolist() == [-np.inf, -np.inf]
    assert scores["flagged"][[4, 5]].all()
    good = table.head(300)
    expected = run.flow.log_prob(*run.schema.encode(good).to(torch.float32)).numpy()
    inside = ~good.index.isin([4, 5])
    assert scores["log_density"][inside].to_numpy() == pytest.approx(expected[inside], abs=1e-4)
    swapped = good.assign(age=good["age"].iloc[::-1].to_numpy())
    assert not np.allclose(run.flow.log_prob(*run.schema.encode(swapped).to(torch.float32)).numpy(), expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "context: must be given: the values of its conditions, as context=[age=VALUE,group=VALUE]"),
        (["context=[age=30]"], "context: 'group' is missing; give every condition"),
        (["context=age=30"], "context: 'group' is missing"),
        (
            ["context=[age=30,group=z]"],
            "column 'group' holds 'z' in row 1, which is no category of it; allowed: a, b, c",
        ),
        (["context=[age=old,group=a]"], "column 'age' holds 'old' in row 1, which is not a number"),
        (["context=[age=30,sex=f,group=a]"], "context: 'sex=f': must be the conditions of the flow by name"),
        (["context=[age=30,age=31,group=a]"], "names a condition twice"),
        (["context=[0.5,1]"], "context: '0.5': must be the conditions of the flow by name"),
        (["context=gone.csv"], "gone.csv: no such file"),
        ([CONDITION, "output=new.pickle"], "output=new.pickle: must end in .csv"),
    ],
)
def test_mistakes_of_a_sample(run, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    output = [] if any(word.startswith("output") for word in words) else ["output=new.csv"]
    assert sample([str(run.directory), *output, *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": "z"}, "column 'group' holds 'z' in row 1, which is no category of it; allowed: a, b, c"),
        ({"group": None}, "column 'group' holds NaN or nothing in 3 row(s)"),
        ({"income": "much"}, "column 'income' holds 'much' in row 1, which is not a number"),
        ({"size": "XL"}, "column 'size' holds 'XL' in row 1"),
    ],
)
def test_mistakes_of_a_score(run, table, tmp_path, capsys, change, message):
    table.head(3).assign(**change).to_csv(tmp_path / "rows.csv", index=False)
    output = tmp_path / "scores.csv"
    assert score([str(run.directory), f"input={tmp_path / 'rows.csv'}", f"output={output}"]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_missing_column_is_named(run, table, tmp_path, capsys):
    table.head(3).drop(columns="age").to_csv(tmp_path / "rows.csv", index=False)
    words = [str(run.directory), f"input={tmp_path / 'rows.csv'}", f"output={tmp_path / 'scores.csv'}"]
    assert score(words) == 2
    assert "no column 'age'" in capsys.readouterr().err


def test_a_damaged_schema_is_one_line(run, tmp_path, capsys):
    copied = tmp_path / "run"
    shutil.copytree(run.directory, copied)
    record = json.loads((copied / "provenance.json").read_text())
    record["schema"]["columns"][0]["kind"] = "nonsense"
    (copied / "provenance.json").write_text(json.dumps(record))
    assert sample([str(copied), f"output={tmp_path / 'new.csv'}", CONDITION]) == 2
    said = capsys.readouterr().err
    assert "provenance.json: schema:" in said
    assert "Traceback" not in said


def test_a_run_resumes_to_the_same_bits(run, tmp_path, interrupt):
    from flowlab import resume
    from flowlab import train as train_run

    interrupt(20, train_run, run.config, tmp_path / "run")
    resumed = resume(tmp_path / "run")
    assert resumed.result["nll"] == run.result["nll"]
