"""The benchmark of posteriors trains, measures, continues where it stopped, and splits gains into bound and model."""

import json

import pandas
import pytest
import vae_benchmark


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Make every cell small."""
    sizes = {"latent": 2, "hidden": [8], "context": 4, "steps": 20, "draws": 4}
    monkeypatch.setattr(vae_benchmark, "DATA", {"digits": sizes})
    monkeypatch.setattr(vae_benchmark, "POSTERIORS", {"diagonal": {}, "full": {"covariance": "full"}})


def test_cells_are_measured_once_and_recorded(tmp_path, capsys, monkeypatch):
    words = ["--seeds", "2", "--directory", str(tmp_path / "cells")]
    assert vae_benchmark.main([*words, "--posteriors", "diagonal"]) == 0
    first = json.loads((tmp_path / "cells/digits_diagonal.json").read_text())
    assert vae_benchmark.main([*words, "--record", str(tmp_path / "vae")]) == 0
    assert json.loads((tmp_path / "cells/digits_diagonal.json").read_text()) == first, "it is there already"
    rows = pandas.read_csv(tmp_path / "vae.csv")
    assert [*zip(rows.posterior, rows.seed, strict=True)] == [
        ("diagonal", 0),
        ("diagonal", 1),
        ("full", 0),
        ("full", 1),
    ]
    assert (rows.elbo < rows.log_prob).all()
    assert rows.elbo.between(-50, -20).all()
    assert json.loads((tmp_path / "vae.json").read_text())["data"]["digits"]["draws"] == 4
    assert "digits  full" in capsys.readouterr().out


def test_gains_are_paired_by_seed_and_split_exactly():
    rows = pandas.DataFrame(
        {
            "data": "digits",
            "posterior": ["diagonal"] * 3 + ["full"] * 3,
            "seed": [0, 1, 2] * 2,
            "elbo": [-10.0, -11.0, -12.0, -8.0, -9.0, -10.0],
            "log_prob": [-9.0, -10.0, -11.0, -7.5, -8.5, -9.5],
            "active": 2,
            "parameters": 5,
        }
    )
    full = vae_benchmark.summarize(rows).set_index("posterior").loc["full"]
    assert (full.gain, full.model, full.bound) == (2.0, 1.5, 0.5)
    assert full.gain_interval == pytest.approx(0.0), "paired, all gains are equal"
    assert full.elbo_interval == pytest.approx(4.303 / 3**0.5, rel=1e-3), "Student's interval of three numbers"
    assert full.gap == pytest.approx(0.5)


def test_a_damaged_cell_ends_in_one_line(tmp_path, capsys):
    (tmp_path / "digits_diagonal.json").write_text("{")
    assert vae_benchmark.main(["--directory", str(tmp_path)]) == 2
    assert "digits_diagonal.json" in capsys.readouterr().err
