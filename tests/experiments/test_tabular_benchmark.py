"""The benchmark of tables: it measures a sweep beside other densities, and says where flows lose."""

import numpy as np
import pandas
import pytest
import tabular_benchmark

from flowlab.cli.main import main

SWEEP = ["-m", "target=dataset", "target.dataset=sp500", "target.subset=true", "flow=tabular,planar", "seed=0,1"]
QUICK = ["max_steps=30", "batch_size=64", "trainer.validate_every=10", "trainer.progress=off"]


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main([*SWEEP, *QUICK, f"hydra.sweep.dir={tmp_path / 'sweep'}"]) == 0
    return tmp_path / "sweep"


def test_it_measures_flows_and_baselines_on_the_same_rows(sweep, tmp_path, capsys):
    capsys.readouterr()
    assert tabular_benchmark.main([str(sweep), "--record", str(tmp_path / "record")]) == 0
    said, rows = capsys.readouterr().out, pandas.read_csv(tmp_path / "record.csv")
    assert list(rows["model"]) == ["Gaussian", "Gaussian mixture", "kernel density", "tabular", "planar"]
    nats = rows.set_index("model")["nats"]
    runs, waiting = tabular_benchmark.find_runs(sweep)
    assert waiting == 0
    # result.json has the mean NLL in the units of the table.
    one = runs["sp500", "tabular"]
    units = one[0].target.rows("train", 0, 0).double().std(0, correction=0).log().sum().item()
    assert nats["tabular"] == pytest.approx(np.mean([units - run.result["nll"] for run in one]), abs=1e-3)
    assert nats["Gaussian"] == pytest.approx(units - one[0].result["gaussian_nll"], abs=0.05)
    assert nats["tabular"] > nats["Gaussian"] > nats["planar"], "heavy tails; a flow that has hardly begun"
    assert f"sp500: planar loses to the {rows['model'][rows['nats'][:3].idxmax()]} by" in said
    assert f"{nats['tabular']:.2f} (" in said
    assert (tmp_path / "record.json").is_file()


def test_losses_are_those_behind_the_best_baseline():
    columns = ["dataset", "kind", "model", "nats", "behind_best_baseline", "behind_error_over_rows"]
    rows = [
        ("a", "baseline", "G", 1.0, 0.0, 0.0),
        ("a", "flow", "f", 2.0, -1.0, 0.1),
        ("a", "flow", "g", 0.5, 0.5, 0.2),
    ]
    (line,) = tabular_benchmark.describe_losses(pandas.DataFrame(rows, columns=columns))
    assert line == "a: g loses to the G by 0.50 nats, with an error of 0.20 over test rows"
    assert tabular_benchmark.describe_losses(pandas.DataFrame(rows[:2], columns=columns)) == [
        "No flow loses to a baseline."
    ]


def test_a_directory_without_a_sweep_is_refused(tmp_path, capsys):
    assert tabular_benchmark.main([str(tmp_path)]) == 2
    assert "not the directory of a sweep" in capsys.readouterr().err
