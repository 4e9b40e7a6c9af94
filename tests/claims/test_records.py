"""Recorded results load by name, from a clone and from an installed package."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flowlab.claims import load_record
from flowlab.claims.ledger import LedgerError
from flowlab.claims.records import records_directory

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [path.stem for path in records_directory().glob("*.json")])
def test_every_record_has_a_table_and_its_origin(name):
    record = load_record(name)
    assert len(record.table) >= 1
    assert record.origin["command"][0].startswith("experiments/")
    assert record.origin["packages"]


def test_curves_have_a_column_for_each_run():
    record = load_record("jang2018")
    losses = record.curves("loss")
    assert losses.shape[1] == len(record.table) == record.origin["runs"]
    assert losses.index.is_monotonic_increasing


def test_an_unknown_record_or_metric_is_named_with_what_exists():
    with pytest.raises(LedgerError, match=r"load_record\('depth'\): there is no such record; allowed are .*depth_rank"):
        load_record("depth")
    with pytest.raises(LedgerError, match="jang2018: has no curves of 'nll'; recorded are loss"):
        load_record("jang2018").curves("nll")
    with pytest.raises(LedgerError, match="saturating: has no curves of 'loss'; recorded are grad_norm"):
        load_record("saturating").curves("loss")  # saturating_banana.csv is a record, not a metric


def test_a_wheel_ships_the_records_and_the_figures_of_the_lessons():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    assert wheel["force-include"]["experiments/results"] == "flowlab/records"
    assert "notebooks/lesson_figures" in wheel["packages"]


def test_an_installed_package_reads_its_own_records(tmp_path):
    """A copy in the layout of a wheel, with one record inside."""
    shutil.copytree(ROOT / "flowlab", tmp_path / "flowlab", ignore=shutil.ignore_patterns("__pycache__"))
    inside = tmp_path / "flowlab" / "records"
    inside.mkdir()
    (inside / "small.csv").write_text("seed,kl\n0,0.5\n", encoding="utf-8")
    (inside / "small.json").write_text(json.dumps({"command": ["small.py"]}), encoding="utf-8")
    script = "from flowlab.claims import load_record; print(load_record('small').table.kl[0])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.stdout == "0.5\n", done.stderr
