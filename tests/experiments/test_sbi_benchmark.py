"""The benchmark of posteriors trains, measures, continues where it stopped, and records its table."""

import json

import numpy as np
import pytest
import sbi_benchmark
import torch

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
def test_a_cell_is_measured_once_and_recorded(tmp_path, capsys, monkeypatch):
    words = ["--tasks", "two_moons", "--simulations", "1000", "--directory", str(tmp_path / "cells")]
    assert sbi_benchmark.main([*words, "--observations", "1"]) == 0
    assert capsys.readouterr().out.count(": C2ST") == 1
    assert sbi_benchmark.main([*words, "--observations", "2", "--record", str(tmp_path / "record.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.count(": C2ST") == 1, "the first observation is there already"
    (cell,) = json.loads((tmp_path / "record.json").read_text())["cells"]
    values = [
        each["c2st"]
        for each in json.loads((tmp_path / "cells/two_moons_1000.json").read_text())["observations"].values()
    ]
    assert (cell["task"], cell["simulations"], cell["observations"]) == ("two_moons", 1000, 2)
    assert cell["c2st_of_observations"] == values
    assert cell["c2st"] == pytest.approx(np.mean(values))
    assert 0.6 < cell["c2st"] <= 1, "a flow of 20 steps is far from the posterior"
    assert f"{cell['c2st']:.3f}" in printed
    assert cell["published"] == 0.725


@pytest.mark.usefixtures("small")
def test_a_damaged_cell_ends_in_one_line(tmp_path, capsys):
    (tmp_path / "two_moons_1000.json").write_text("{")
    words = ["--tasks", "two_moons", "--simulations", "1000", "--directory", str(tmp_path)]
    assert sbi_benchmark.main(words) == 2
    assert "two_moons_1000.json" in capsys.readouterr().err
