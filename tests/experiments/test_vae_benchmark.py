"""The benchmark of posteriors trains, measures, continues where it stopped."""

import json

import pandas
import pytest
import vae_benchmark


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Make every cell small."""
    sizes, training = {"latent": 2, "hidden": [8], "context": 4}, {"steps": 20, "batch_size": 64, "lr": 0.003}
    monkeypatch.setattr(vae_benchmark, "DATA", {"digits": sizes})
    monkeypatch.setattr(vae_benchmark, "TRAINING", {"digits": training})
    monkeypatch.setattr(vae_benchmark, "DRAWS", {"digits": 4})
    monkeypatch.setattr(vae_benchmark, "POSTERIORS", {"diagonal": {}, "full": {"covariance": "full"}})


def test_cells_are_measured_once_and_recorded(tmp_path, capsys, monkeypatch):
    words = ["--seeds", "2", "--directory", str(tmp_path / "cells")]
    assert vae_benchmark.main([*words, "--posteriors", "diagonal"]) == 0
    first = json.loads((tmp_path / "cells/digits_diagonal_path.json").read_text())
    assert vae_benchmark.main([*words, "--record", str(tmp_path / "vae")]) == 0
    assert json.loads((tmp_path / "cells/digits_diagonal_path.json").read_text()) == first, "it is there already"
    rows = pandas.read_csv(tmp_path / "vae.csv")
    assert [*zip(rows.posterior, rows.seed, strict=True)] == [
        ("diagonal", 0),
        ("diagonal", 1),
        ("full", 0),
        ("full", 1),
    ]
    assert (rows.elbo < rows.log_prob).all()
    assert rows.elbo.between(-50, -20).all()
    origin = json.loads((tmp_path / "vae.json").read_text())
    assert origin["draws"] == {"digits": 4}
    assert (origin["git_commit"], origin["commits_of_cells"]) == (first["git_commit"], [str(first["git_commit"])])
    assert {"torch", "scikit-learn"} <= set(origin["packages"])
    assert "digits  full" in capsys.readouterr().out


def test_validation_chooses_between_gradients(tmp_path, monkeypatch):
    monkeypatch.setattr(vae_benchmark, "GRADIENTS", {"full": ("path", "full")})
    assert vae_benchmark.main(["--seeds", "1", "--directory", str(tmp_path), "--posteriors", "full"]) == 0
    paths = [tmp_path / f"digits_full_{gradient}.json" for gradient in ("path", "full")]
    by_path, by_full = (json.loads(path.read_text()) for path in paths)
    assert by_path["validation_loss"] != by_full["validation_loss"]
    for lower, higher in ((by_path, by_full), (by_full, by_path)):
        for cell, loss in ((lower, 30.0), (higher, 31.0)):
            path = tmp_path / f"digits_full_{cell['gradient']}.json"
            path.write_text(json.dumps(cell | {"validation_loss": [loss]}))
        assert set(vae_benchmark.collect(tmp_path).gradient) == {lower["gradient"]}


def test_a_damaged_cell_ends_in_one_line(tmp_path, capsys):
    (tmp_path / "digits_diagonal_path.json").write_text("{")
    assert vae_benchmark.main(["--directory", str(tmp_path)]) == 2
    assert "digits_diagonal_path.json" in capsys.readouterr().err
