"""The benchmark of both directions of an autoregressive layer, with small problems."""

import json
import subprocess
import sys
from pathlib import Path

import pandas

RECORD = Path(__file__).parents[2] / "experiments" / "results" / "autoregressive_sides.csv"
SCRIPT = Path(__file__).parents[2] / "experiments" / "benchmarks" / "autoregressive_sides.py"


def test_it_times_three_sides_and_records_them(tmp_path):
    words = ["--dims", "2", "5", "--repeat", "2", "--record", str(tmp_path / "record")]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pandas.read_csv(tmp_path / "record.csv")
    assert set(zip(table["side"], table["dim"], strict=True)) == {
        (side, dim) for side in ("fast", "slow", "stops early") for dim in (2, 5)
    }
    assert (table["lower_quartile"] > 0).all()
    assert (table["lower_quartile"] <= table["median_seconds"]).all()
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["threads"] == 1
    assert str(tmp_path) not in (tmp_path / "record.json").read_text(encoding="utf-8")


def test_the_committed_record_comes_from_a_clean_commit():
    assert json.loads(RECORD.with_suffix(".json").read_text(encoding="utf-8"))["git_dirty"] is False
