"""The page about run directories names every file, column and key that a run writes."""

import re
from pathlib import Path

import pytest

import flowlab

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "run-directory.md").read_text(encoding="utf-8")
NAMES = set(re.findall(r"`([\w./]+)`", "".join(line for line in PAGE.splitlines(True) if line.startswith("| `"))))
SHORT = ("max_steps=40", "trainer.progress=off", "trainer.log_every=20", "trainer.validate_every=20")


@pytest.mark.parametrize("objective", ["maximum_likelihood", "reverse_kl"])
def test_every_file_column_and_key_is_on_the_page(tmp_path, objective):
    target = "banana" if objective == "maximum_likelihood" else "gaussian_full"
    words = (f"target={target}", f"objective={objective}", "test_size=200", "validation_size=100", *SHORT)
    run = flowlab.train(flowlab.compose(*words), tmp_path / "run")
    files = {path.name for path in run.directory.rglob("*") if path.is_file()}
    assert {name for name in files if name not in PAGE} == set()
    assert set(run.metrics.columns) - NAMES == set()
    assert {key for key in run.result if f"`{key}`" not in PAGE} == set()


def test_the_keys_of_data_are_on_the_page(tmp_path):
    table = flowlab.datasets.load("galaxies", subset=True)[["redshift", "u"]]
    table.to_csv(tmp_path / "rows.csv", index=False)
    words = ("target=table", f"target.path={tmp_path}/rows.csv", "flow.depth=1", "flow.hidden=[8]")
    run = flowlab.train(flowlab.compose(*words, *SHORT), tmp_path / "run")
    assert {key for key in run.result if f"`{key}`" not in PAGE} == set()
    assert "worst_rows" in run.result
