"""The experiment on density distillation, with few steps, and its record."""

import json
import math
from pathlib import Path

import distillation
import pandas
import torch

RECORD = Path(distillation.__file__).parent / "results" / "distillation.json"


def test_the_entropy_of_the_chain_is_that_of_its_density():
    chain = distillation.Chain(dim=5)
    surprise = -chain.log_prob(chain.rows("test", 20_000, 0, torch.float64))
    assert abs(surprise.mean() - chain.entropy) < 4 * surprise.std() / math.sqrt(20_000)


def test_it_distils_and_records_and_continues(tmp_path, monkeypatch):
    for name, value in {"EVALUATED": 500, "HELD_OUT": 100, "POINTS": 100, "REPEAT": 2, "BATCHES": 4}.items():
        monkeypatch.setattr(distillation, name, value)
    words = [
        "--seeds",
        "0",
        "--steps",
        "3",
        "--directory",
        str(tmp_path / "runs"),
        "--record",
        str(tmp_path / "record"),
    ]
    assert distillation.main(words) == 0
    table = pandas.read_csv(tmp_path / "record.csv")
    assert list(zip(table["problem"], table["estimator"], strict=True)) == [
        *(("chain", name) for name in ("closed", "monte_carlo")),
        *(("funnel", name) for name in ("closed", "monte_carlo")),
        ("twonorm", "monte_carlo"),
    ]
    assert (table["student_seconds"] > 0).all()
    ratios = pandas.read_csv(tmp_path / "record_variance_ratio.csv", index_col="step")
    assert list(ratios) == ["chain_0", "funnel_0"]
    assert (ratios > 1).all(axis=None)
    assert str(tmp_path) not in (tmp_path / "record.json").read_text(encoding="utf-8")
    assert distillation.main(words) == 0
    again = pandas.read_csv(tmp_path / "record.csv")
    pandas.testing.assert_series_equal(again["student_kl"], table["student_kl"])


def test_the_committed_record_comes_from_a_clean_commit():
    assert json.loads(RECORD.read_text(encoding="utf-8"))["git_dirty"] is False
