"""Searches by Optuna; each trial is a run."""

import re

import pytest
import yaml

from flowlab import load_run, load_sweep

SEARCH = ("+sweep=search", "hydra.sweeper.n_trials=4")


def test_search_reports_the_best_trial(sweep, tmp_path):
    done = sweep("search", *SEARCH)
    assert done.returncode == 0, done.stderr
    table = load_sweep(tmp_path / "search")
    assert list(table["status"]) == ["done"] * 4
    for name, low, high in (("optimizer.lr", 1e-4, 1e-1), ("flow.depth", 1, 8), ("flow.smoothness", 0.1, 3.0)):
        assert table[name].nunique() > 1
        assert table[name].between(low, high).all()
    best = yaml.safe_load((tmp_path / "search/optimization_results.yaml").read_text())
    assert best["best_value"] == table["kl"].min()
    assert best["best_params"]["flow.depth"] == table["flow.depth"][table["kl"].idxmin()]
    assert f"Best value: {best['best_value']}" in done.stdout + done.stderr


@pytest.mark.parametrize("launcher", ["basic", "stacked"])
def test_failed_trials_do_not_stop_the_search(launcher, sweep, tmp_path):
    """The search tries one learning rate that diverges at once and one that converges."""
    words = ("optimizer.lr=0.01,1e60", "optimizer.schedule=constant", "dtype=float64", "flow.depth=2")
    done = sweep("search", *SEARCH, *words, f"hydra/launcher={launcher}", "hydra.sweeper.n_jobs=2")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    table = load_sweep(tmp_path / "search")
    assert set(table["status"]) == {"done", "failed"}
    assert list(table["status"] == "failed") == list(table["optimizer.lr"] == 1e60)
    for job in table.index[table["status"] == "failed"]:
        assert re.search(rf"^ *{job} +failed +DivergedError", done.stdout, re.MULTILINE), done.stdout
        assert "Traceback" in load_run(tmp_path / "search" / str(job)).status["traceback"]
    best = yaml.safe_load((tmp_path / "search/optimization_results.yaml").read_text())
    assert best["best_params"]["optimizer.lr"] == 0.01
    assert best["best_value"] == table["kl"].min()


def test_search_fails_when_all_trials_fail(sweep, tmp_path):
    words = ("optimizer.lr=1e60", "optimizer.schedule=constant", "dtype=float64")
    done = sweep("search", *SEARCH, *words)
    assert done.returncode == 1
    assert list(load_sweep(tmp_path / "search")["status"]) == ["failed"] * 4
    assert "flowlab: the search has no best trial, because none of its runs is done" in done.stderr
    assert "4 runs: 4 failed" in done.stdout
    assert "Traceback" not in done.stderr


def test_search_on_a_file_minimizes_nll_and_continues_stored_trials(sweep, tmp_path, iris):
    kept = ("hydra.sweeper.storage=sqlite:///trials.db", "hydra.sweeper.study_name=iris")
    for directory in ("first", "second"):
        done = sweep(directory, *SEARCH, *kept, "target=file", f"target.path={iris}")
        assert done.returncode == 0, done.stderr
    rates = [set(load_sweep(tmp_path / directory)["optimizer.lr"]) for directory in ("first", "second")]
    assert not rates[0] & rates[1], "the second search tries other values"
    lowest = min(load_sweep(tmp_path / directory)["nll"].min() for directory in ("first", "second"))
    best = yaml.safe_load((tmp_path / "second/optimization_results.yaml").read_text())
    assert best["best_value"] == lowest
