"""The benchmark of posteriors trains, measures, continues where it stopped, and records its table."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import sbi_benchmark
import torch

from flowlab.claims import load_record
from flowlab.datasets.posteriors import ReferencePosterior
from flowlab.seeding import generator
from flowlab.targets import Simulator


@pytest.fixture
def small(monkeypatch):
    """Make every cell small; its reference is the exact posterior."""
    settings = ("max_steps=20", "batch_size=50", "trainer.validate_every=10", "target.simulations=100")
    monkeypatch.setattr(sbi_benchmark, "TRAINING", {1000: settings, 10_000: settings})
    monkeypatch.setattr(sbi_benchmark, "SAMPLES", 200)

    def load(task, number, download):
        observed = torch.full((2,), 0.1 * number - 0.2, dtype=torch.float64)
        samples = Simulator(task).simulator.sample_posterior(observed, 200, generator(0, "reference"))
        return ReferencePosterior(observed.numpy(), np.zeros(2), samples.numpy())

    monkeypatch.setattr(sbi_benchmark, "load_posterior", load)


@pytest.mark.usefixtures("small")
def test_a_cell_is_measured_once_and_recorded(tmp_path, capsys):
    words = ["--tasks", "two_moons", "--simulations", "1000", "--directory", str(tmp_path / "cells")]
    assert sbi_benchmark.main([*words, "--observations", "1"]) == 0
    assert capsys.readouterr().out.count(": C2ST") == 1
    record = tmp_path / "records/sbi"
    assert sbi_benchmark.main([*words, "--observations", "2", "--record", str(record)]) == 0
    printed = capsys.readouterr().out
    assert printed.count(": C2ST") == 1, "the first observation is there already"
    cell = json.loads((tmp_path / "cells/two_moons_1000.json").read_text())
    values = [each["c2st"] for each in cell["observations"].values()]
    rows = pandas.read_csv(record.with_suffix(".csv"))
    assert list(rows["observation"]) == [1, 2]
    assert set(rows["task"]) == {"two_moons"}
    assert list(rows["c2st"]) == pytest.approx(values, rel=1e-5)
    assert 0.6 < np.mean(values) <= 1, "a flow of 20 steps is far from the posterior"
    assert f"{np.mean(values):.3f}" in printed
    assert set(rows["published"]) == {0.725}
    assert json.loads(record.with_suffix(".json").read_text())["samples"] == 200


@pytest.mark.usefixtures("small")
def test_a_damaged_cell_ends_in_one_line(tmp_path, capsys):
    (tmp_path / "two_moons_1000.json").write_text("{")
    words = ["--tasks", "two_moons", "--simulations", "1000", "--directory", str(tmp_path)]
    assert sbi_benchmark.main(words) == 2
    assert "two_moons_1000.json" in capsys.readouterr().err


def test_the_page_has_the_means_of_the_record():
    page = (Path(__file__).parents[2] / "docs/how-to/own-target.md").read_text()
    table = load_record("sbi").table
    table["published"] = table["corrected"].fillna(table["published"])
    means = table.groupby(["task", "simulations"])[["c2st", "published"]].mean()
    for task in sbi_benchmark.PUBLISHED:
        few, many = (list(means.loc[(task, count)]) for count in (1000, 10_000))
        assert f"| `{task}` | " + " | ".join(f"{value:.3f}" for value in few + many) + " |" in page
