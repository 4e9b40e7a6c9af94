"""Runs on a data file: densities in the units of the file, early stopping, and unchanged data on resume."""

import numpy as np
import pandas
import pytest

from flowlab import ConfigError, compose, load_run, resume, train


def test_density_is_in_the_units_of_the_file(iris, tmp_path):
    words = ("trainer.progress=off", "target=file", f"target.path={iris}", "max_steps=800", "trainer.validate_every=50")
    run = train(compose(*words), tmp_path / "run")
    assert run.result["nll"] < run.result["gaussian_nll"], "better than a Gaussian with full covariance"
    assert run.result["weights"] == "best"
    assert "kl" not in run.result
    assert run.result["nll_se"] > 0
    test = run.target.rows("test", 0, 0)
    assert -run.flow.log_prob(test).mean().item() == pytest.approx(run.result["nll"], rel=1e-5)
    # Densities are in the units of the file: in millimetres every coordinate costs log 10 more.
    table = pandas.read_csv(iris) * 10
    table.to_csv(iris, index=False)
    larger = train(compose(*words), tmp_path / "larger")
    assert larger.result["nll"] - run.result["nll"] == pytest.approx(4 * np.log(10), abs=0.02)
    assert run.result["gaussian_nll"] + 4 * np.log(10) == pytest.approx(larger.result["gaussian_nll"], rel=1e-4)


def test_better_validation_after_early_stopping_is_ignored(iris, tmp_path):
    words = (
        "trainer.progress=off",
        "target=file",
        f"target.path={iris}",
        "max_steps=4000",
        "trainer.validate_every=100",
    )
    run = train(compose(*words), tmp_path / "run")
    validated = run.metrics.dropna(subset="nll")
    best, patience = 0, 10 * 100
    lowest = float("inf")
    for step, nll in zip(validated["step"], validated["nll"], strict=True):
        if nll < lowest and (not best or step - best <= patience):
            lowest, best = nll, step
    assert run.result["best_step"] == best < 2000
    assert run.checkpoint("best")["global_step"] == best
    assert run.result["nll"] < run.result["gaussian_nll"], "better than a Gaussian with full covariance"


def test_changed_file_is_refused_on_resume(iris, tmp_path):
    words = ("trainer.progress=off", "target=file", f"target.path={iris}", "max_steps=20")
    run = train(compose(*words), tmp_path / "run")
    (run.directory / "status.json").write_text('{"status": "interrupted"}')
    iris.write_text(iris.read_text() + "1,2,3,4\n")
    with pytest.raises(ConfigError, match="has changed"):
        resume(run.directory)
    iris.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        resume(run.directory)
    assert load_run(run.directory).flow is not None, "a flow loads without the data"


def test_files_of_other_dimensions_are_trained(tmp_path):
    for dim in (1, 5):
        path = tmp_path / f"{dim}.npy"
        np.save(path, np.random.default_rng(0).normal(3.0, 2.0, (200, dim)))
        words = ("trainer.progress=off", "target=file", f"target.path={path}", "max_steps=50", "flow.rank=1")
        run = train(compose(*words), tmp_path / f"run{dim}")
        assert np.isfinite(run.result["nll"])
